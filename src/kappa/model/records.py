"""What flows: records into and out of a log, rows and dead letters out of the kernel.

Plain values, no behaviour. Times named `_us` are event times or append times in microseconds since 1970, UTC:
event time is what the event says, append time is when the log took it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A record to append.

    Attributes:
        key: The partitioning key; None is legal in a log, but no view can fold such a record.
        value: The event as its producer wrote it, JSON by convention.
        event_time_us: The event's own time; 0 when it is not known.
        origin: (partition, offset) of the record it was copied from, in a repartitioned log; else None.
    """

    key: bytes | None
    value: bytes
    event_time_us: int = 0
    origin: tuple[int, int] | None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as a log holds it; fields as in `NewRecord`, and its place."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    event_time_us: int
    appended_at_us: int


class RecordBatch(msgspec.Struct, frozen=True, gc=False):
    """Records of one partition in log order, column by column, because that is ten times as fast as row by row.

    Attributes:
        partition: The partition all of them come from.
        offsets: Rising strictly; gaps are legal. All columns have this length.
        keys: As appended.
        values: As appended.
        event_times_us: As appended.
        appended_at_us: As the log's clock said.
        next_offset: Where to read on; at least the last offset plus one.
        event_time_max_us: The greatest event time in a batch that a log has read: the watermark advances to it.
        origins: (partition, offset) of the records that these were copied from, in a repartitioned log that may hold a
            copy twice; empty where none can be.
    """

    partition: int
    offsets: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes]
    event_times_us: Sequence[int]
    appended_at_us: Sequence[int]
    next_offset: int
    event_time_max_us: int = 0
    origins: Sequence[tuple[int, int]] = ()

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[Record]:
        columns = zip(self.offsets, self.keys, self.values, self.event_times_us, self.appended_at_us, strict=True)
        for offset, key, value, event_time_us, appended_at_us in columns:
            yield Record(self.partition, offset, key, value, event_time_us, appended_at_us)


class Source(msgspec.Struct, frozen=True):
    """Where appended records come from, so that appending them again after a crash adds nothing twice.

    Attributes:
        name: Identifies the source within the log, for example a file.
        expected: The state that the caller last read, or None when the log has not seen the source.
        state: The state after these records, opaque to the log, at most 4 KiB.
        group: Names the sources that one process takes together, such as the partitions of a topic: whoever appends
            from one of them may fence every other process from all. Empty: this one is alone.
    """

    name: str
    expected: str | None
    state: str
    group: str = ""


class RowChange(msgspec.Struct, frozen=True, gc=False):
    """A row as the kernel leaves it, with the position that makes it comparable.

    Attributes:
        key: The record key it belongs to.
        columns: The public columns' values in the view's order; None for a tombstone.
        state: The row's versioned state bytes; None for a tombstone.
        partition, offset: The last event of its key folded into it.
        step: Timer firings since that event.
        due_us: Event time of the row's next timer, or None.
    """

    key: bytes
    columns: tuple[Any, ...] | None
    state: bytes | None
    partition: int
    offset: int
    step: int = 0
    due_us: int | None = None


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A record set aside, with its reason. It is still in the log; the row of its key does not contain it.

    Attributes:
        partition, offset: Its place in the view's log.
        key: Its key, if it has one.
        value: Its bytes.
        reason: What was expected and what was found.
        event_time_us: As the record's header says.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    reason: str
    event_time_us: int = 0


class Changes(msgspec.Struct, frozen=True, gc=False):
    """What one or more batches did to a view: to be written in one transaction.

    Attributes:
        rows: One entry per changed key, sorted by key.
        dead_letters: In log order per partition.
    """

    rows: Sequence[RowChange] = ()
    dead_letters: Sequence[DeadLetter] = ()


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far a version has folded one partition.

    Attributes:
        next_offset: The first offset not folded yet.
        watermark_us: Largest event time seen before `next_offset`, less the allowed lateness; 0 before any event.
            Whoever resumes here needs it, for it cannot be computed from the rest of the log.
        origins: In a repartitioned log: partition of the source -> newest offset of it among the records folded here.
            A copy that is not newer was copied twice and is passed over.
    """

    next_offset: int = 0
    watermark_us: int = 0
    origins: Mapping[int, int] = {}


# A vector: partition -> next offset. Compared partition by partition; a missing partition counts as 0.
Position = Mapping[int, int]


def lag(position: Position, ends: Position) -> int:
    """Return how many records lie between a position and the ends of the log.

    >>> lag({0: 5, 1: 7}, {0: 9, 1: 7, 2: 1})
    5
    """
    return sum(max(0, end - position.get(partition, 0)) for partition, end in ends.items())
