"""Fold chosen keys from the log by two versions of the code in turn: one for a range of event time, one for the rest.

The kernels do the folding, each for the events on its side; this module decides whose turn it is, and hands them the
rows that the other has left. Events are not in the order of their times, so a key may change sides at any event.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

import msgspec

from kappa.control.advance import Advance
from kappa.control.code import ViewCode
from kappa.model.interleaving import Origins, interleave
from kappa.model.kernel import Kernel
from kappa.model.records import DeadLetter, Record, RecordBatch, RowChange
from kappa.ports import Log, Seed

# What the log reads in one piece. The kernels take turns within such a batch, so this bounds what waits for its turn.
BATCH_RECORDS_MAX = 1_000


class EventRange(msgspec.Struct, frozen=True):
    """A range of event time, microseconds since 1970, UTC. None where it is open."""

    start_us: int | None
    end_us: int | None

    @classmethod
    def of(cls, seed: Seed) -> EventRange:
        """Return the range that a seed corrects."""
        return cls(seed.start_us, seed.end_us)

    def __contains__(self, event_time_us: object) -> bool:
        assert isinstance(event_time_us, int), event_time_us
        after_start = self.start_us is None or self.start_us <= event_time_us
        return after_start and (self.end_us is None or event_time_us < self.end_us)


def read_up_to(log: Log, partition: int, end: int, *, start: int = 0) -> Generator[RecordBatch, None, None]:
    """Yield the records of a partition before offset `end`, each event once; the last batch may go beyond.

    From a `start` in the middle on, an event of which a copy lies before it may be met too.
    """
    newest: Origins = {}
    while start < end:
        batch, newest = interleave(log.read(partition, start, records_max=min(BATCH_RECORDS_MAX, end - start)), newest)
        yield batch
        if batch.next_offset <= start:  # the log ends here
            return
        start = batch.next_offset


class Alternating:
    """Folds records of chosen keys from the log's start.

    Attributes:
        rows: Key -> its row, of all keys that have one: they are in memory until they are taken.
        dead_letters: Of these keys.
    """

    def __init__(self, outside: ViewCode, inside: ViewCode, times: EventRange) -> None:
        self.rows: dict[bytes, RowChange] = {}
        self.dead_letters: list[DeadLetter] = []
        self._times = times
        self._kernels = {False: self._kernel(outside), True: self._kernel(inside)}
        self._waiting: dict[bool, list[Record]] = {False: [], True: []}
        self._side: dict[bytes | None, bool] = {}

    def fold(self, log: Log, partition: int, keys: set[bytes | None], *, end: int) -> Generator[Advance, None, None]:
        """Fold the records of `keys` in a partition before offset `end`."""
        for batch in read_up_to(log, partition, end):
            for record in chosen(batch, lambda key, _: key in keys, end=end):
                self._take(record)
            self._fold_waiting(partition)
            yield Advance(
                min(batch.next_offset, end), end, note=f"folding {len(keys):,} keys again, {log.name}[{partition}]"
            )

    def _take(self, record: Record) -> None:
        side = record.event_time_us in self._times
        if self._side.setdefault(record.key, side) != side:
            # Both sides: a kernel expects the rows that it loads to be older than all it folds until they are taken.
            self._fold_waiting(record.partition)
            self._side[record.key] = side
        self._waiting[side].append(record)

    def _fold_waiting(self, partition: int) -> None:
        for side, records in self._waiting.items():
            if records:
                kernel = self._kernels[side]
                kernel.fold(batch_of(partition, records))
                changes = kernel.take_changes()
                kernel.forget()
                self.rows |= {row.key: row for row in changes.rows}
                self.dead_letters += changes.dead_letters
        self._waiting = {False: [], True: []}
        self._side.clear()

    def _kernel(self, code: ViewCode) -> Kernel:
        return Kernel(code.view, events=code.events, load=self._load, rows_max=2 * BATCH_RECORDS_MAX + 2)

    def _load(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {key: row.state for key in keys if (row := self.rows.get(key)) is not None and row.state is not None}


def chosen(batch: RecordBatch, wanted: Callable[[bytes | None, int], bool], *, end: int) -> list[Record]:
    """Return the records before offset `end` whose key and event time are wanted. The others cost next to nothing."""
    columns = zip(batch.offsets, batch.keys, batch.values, batch.event_times_us, batch.appended_at_us, strict=True)
    return [Record(batch.partition, *each) for each in columns if wanted(each[1], each[3]) and each[0] < end]


def batch_of(partition: int, records: Sequence[Record]) -> RecordBatch:
    """Return records of one partition, at least one, as a batch."""
    return RecordBatch(
        partition,
        offsets=[record.offset for record in records],
        keys=[record.key for record in records],
        values=[record.value for record in records],
        event_times_us=[record.event_time_us for record in records],
        appended_at_us=[record.appended_at_us for record in records],
        next_offset=records[-1].offset + 1,
    )
