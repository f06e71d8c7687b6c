"""The event log: append-only, in partitions, never compacted. The truth that everything else is rebuilt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from kappa.model.records import NewRecord, RecordBatch, Source

# The log that producers append to; a log repartitioned by other key fields is named after both.
EVENT_LOG = "events"

# Kafka's own default for message.max.bytes, so that a log can move there.
RECORD_BYTES_MAX = 1024 * 1024


class Topic(Protocol):
    """A log that somebody else writes, to be read: offsets are as in `Log`.

    It may grow by partitions. Gaps are legal, and are what compaction leaves.
    """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def identity(self) -> str:
        """What tells it from another one of the same name, made after it was deleted; empty if nothing does."""

    def read(self, partition: int, start: int, *, records_max: int) -> RecordBatch:
        """See `Log.read`."""

    def starts(self) -> Mapping[int, int]:
        """See `Log.starts`."""

    def ends(self) -> Mapping[int, int]:
        """See `Log.ends`."""

    def warnings(self) -> Sequence[str]:
        """Say what its readers may miss, a sentence each."""

    def close(self) -> None:
        """Release connections. Idempotent."""


class Log(Protocol):
    """An append-only log in partitions. A range of offsets is half-open: [start, end).

    One object serves one process; several processes may open the same log, and a reader never blocks a writer.
    """

    @property
    def name(self) -> str:
        """The log's name."""

    @property
    def partition_count(self) -> int:
        """At least 1, fixed when the log is created."""

    @property
    def has_gaps(self) -> bool:
        """Whether some offsets may hold no record, so that counts made of offsets are a little too large."""

    @property
    def ahead_max_us(self) -> int | None:
        """How far ahead of its append an event may be dated for `offsets_from` to be right; None: without limit."""

    def append(self, records: Sequence[NewRecord], *, source: Source | None = None) -> None:
        """Append records, each to the partition of its key (`partition_of`).

        Durable when it returns. Records of one partition keep their order. With `source`, the records and the
        source's new state become visible together, all or nothing, provided that its state still is
        `source.expected`; so a caller that reads the state, appends and is killed anywhere adds nothing twice.
        Without it, a log on a network may keep a first part of each partition's records when it fails. `records` may
        be empty.

        Copies, which carry an `origin`, may be visible before their source's state, and a first part of each
        partition's without it: whoever appends them again makes second copies, which `RecordBatch.origins` tells.
        Copies of one source partition are appended in its order.

        Raises:
            SourceMoved: The source's state is not `source.expected`. Nothing was appended.
            RecordTooLarge: Key and value exceed `RECORD_BYTES_MAX`. Nothing was appended. Final.
            StoreUnavailable: Nothing was appended from the source. Retry.
            StorageFull: Likewise, until there is room.
        """

    def source_state(self, name: str) -> str | None:
        """Return the state that the last append of this source left, or None before the first."""

    def source_states(self) -> Mapping[str, str]:
        """Return every source's state by name, sorted by name."""

    def read(self, partition: int, start: int, *, records_max: int) -> RecordBatch:
        """Return committed records of one partition from offset `start` on, in log order.

        Never waits for new records: at the end of the log the batch is empty. May return fewer than there are.

        Args:
            partition: 0 <= partition < `partition_count`.
            start: First offset wanted, 0 <= start <= end of the partition.
            records_max: At least 1. What the log reads in one piece may end a batch earlier.

        Raises:
            HistoryLost: `start` lies before the first retained offset. Final.
            StoreUnavailable: Retry.
        """

    def starts(self) -> Mapping[int, int]:
        """Return the first retained offset of every partition."""

    def ends(self) -> Mapping[int, int]:
        """Return one past the last committed offset of every partition: what lag is measured against."""

    def offsets_from(self, event_time_us: int) -> Mapping[int, int]:
        """Return for every partition an offset before which no event has this time or a later one.

        Event times are in no order, so behind it there may be earlier ones, up to the log's end. It is as near to the
        first event of this time as the log can tell without reading: at worst the partition's start. If there is no
        such event, it may be the partition's end.
        """

    def size_bytes(self) -> int:
        """Return the space the log takes, in bytes."""

    def close(self) -> None:
        """Release files and connections. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Logs(Protocol):
    """All logs of a project: the event log, and one repartitioned log per other key."""

    def open(self, name: str, *, partition_count: int) -> Log:
        """Open a log, creating it if there is none.

        Raises:
            ProjectError: The log exists with another number of partitions.
            StoreUnavailable: Retry.
        """

    def names(self) -> Sequence[str]:
        """Return the names of the logs that exist, sorted."""

    def warnings(self) -> Sequence[str]:
        """Say what endangers the logs that exist, a sentence each; nothing if all is well.

        Raises:
            ProjectError: One of them cannot be a log.
            StoreUnavailable: Retry.
        """

    def close(self) -> None:
        """Close what its logs share. They are not to be used any more. Idempotent."""


def source_name(log: str, partition: int) -> str:
    """Return the name under which a log knows one partition of another that it takes events from."""
    return f"{log}[{partition}]"


def copied_up_to(source: Log, target: Log) -> Mapping[int, int]:
    """Return the position in `source` up to which the repartitioned log `target` holds everything."""
    states = target.source_states()
    partitions = range(source.partition_count)
    return {partition: int(states.get(source_name(source.name, partition), 0)) for partition in partitions}
