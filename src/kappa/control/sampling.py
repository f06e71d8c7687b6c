"""Measure on a sample of a log how fast code folds it, and how fast events arrive. In memory; it writes nothing.

The real kernel folds real records, so the rate is that of this code, on this machine, now. What a commit costs is not
measured but known in proportion to what it takes to make its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import msgspec

from kappa.model.decoding import Rejected
from kappa.model.events import Event
from kappa.model.kernel import Kernel
from kappa.model.records import RecordBatch
from kappa.model.rekeying import Rekeying
from kappa.model.views import View, view_spec
from kappa.ports import Log

RECORDS_MAX = 20_000
# All of it takes no longer, however slow the code is.
SAMPLE_S_MAX = 1.0
_PASSES = 3
# How many places of each partition are looked at: the beginning of a log is not like the rest of it.
_PLACES = 5
# Writing a row takes so many times as long as making it of a kernel's state. Of a replay
# with the SQLite store, bench/README.md: 0.2 of a microsecond per event to commit them, 0.06 to make them.
COMMIT_FACTOR = 3.3
# Of the first version of a view nobody knows how many rows it makes. Their number grows with the number of records to
# the power of this (Heaps' law; of most keys there are few events, of few there are many).
KEY_GROWTH = 0.7
# Replays commit that often, and write each row again that has changed since.
_COMMIT_S = 10.0

# Arrivals are counted over the last seconds, for a file may have been loaded just before; over the last minute if they
# are as rare as that. So many records are looked at, at most.
ARRIVAL_S = (5.0, 60.0)
ARRIVAL_RECORDS_MAX = 20_000


class FoldSample(msgspec.Struct, frozen=True):
    """What folding a sample took.

    Attributes:
        records: How many there were.
        rows: How many rows they changed.
        fold_s: Reading and folding them.
        rows_s: Making rows of what the kernel holds.
    """

    records: int
    rows: int
    fold_s: float
    rows_s: float

    def rate(self, *, events: int, rows: int | None) -> float | None:
        """Return the records per second that a worker folds and commits; None if nothing was sampled.

        Args:
            events: Of the whole log.
            rows: That they make, if another version of the view tells; else it is guessed from the sample.
        """
        if not self.records or not self.fold_s:
            return None
        event_s = self.fold_s / self.records
        row_s = (1 + COMMIT_FACTOR) * self.rows_s / self.rows if self.rows else 0.0
        rows_once = self.rows * (events / self.records) ** KEY_GROWTH if rows is None else rows
        commits = max(1.0, events * event_s / _COMMIT_S)
        rows_per_event = min(1.0, commits * rows_once / events) if events else 0.0
        return 1 / (event_s + rows_per_event * row_s)


def sample_fold(
    view: type[View], events: Collection[type[Event]], log: Log, *, rekeyed: bool, clock: Callable[[], float]
) -> FoldSample:
    """Fold records from all over a log.

    Args:
        view: What to fold them into.
        events: All event types of its project.
        log: The view's log, or the event log if that is still to be written.
        rekeyed: Whether `log` has another key than the view.
        clock: Seconds, of this process.
    """
    rekeying = Rekeying(view_spec(view).key, events) if rekeyed else None
    until = clock() + SAMPLE_S_MAX
    passes = [_fold_once(view, events, log, rekeying, clock, until) for _ in range(_PASSES)]
    # A pass takes a moment, and what disturbs it counts too much: the one in the middle is taken.
    complete = [each for each in passes if each.records] or passes
    return sorted(complete, key=lambda each: each.fold_s / max(1, each.records))[len(complete) // 2]


def _fold_once(
    view: type[View],
    events: Collection[type[Event]],
    log: Log,
    rekeying: Rekeying | None,
    clock: Callable[[], float],
    until: float,
) -> FoldSample:
    kernel = Kernel(view, events=events, load=lambda _: {}, rows_max=4 * RECORDS_MAX, store_empty=True)
    timed: list[tuple[int, float]] = []
    for partition, start in _places(log):
        started = clock()
        if started > until:
            break
        batch = log.read(partition, start, records_max=_batch_records(log))
        kernel.fold(batch if rekeying is None else _rekeyed(batch, rekeying))
        timed.append((len(batch), clock() - started))
    # The first batch compiles the kernel's loop.
    counted = timed[1:] or timed
    started = clock()
    rows = len(kernel.take_changes().rows)
    return FoldSample(
        records=sum(records for records, _ in counted),
        rows=rows,
        fold_s=sum(seconds for _, seconds in counted),
        rows_s=clock() - started,
    )


def arrival_rate(log: Log, *, now_us: int) -> float:
    """Return the records per second appended lately, as far as a look at the last ones tells."""
    starts, ends = log.starts(), log.ends()
    return sum(_arrival_rate(log, partition, starts[partition], end, now_us) for partition, end in ends.items())


def _arrival_rate(log: Log, partition: int, start: int, end: int, now_us: int) -> float:
    looked_at = max(1, ARRIVAL_RECORDS_MAX // log.partition_count)
    place, times = max(start, end - looked_at), list[int]()
    while place < end:
        batch = log.read(partition, place, records_max=end - place)
        times += batch.appended_at_us
        place = batch.next_offset
    for seconds in ARRIVAL_S:
        lately = [at_us for at_us in times if at_us >= now_us - round(seconds * 1e6)]
        if lately:
            # If all that were looked at are as new as that there may be more: only the time that they span counts.
            span_s = (now_us - min(lately)) / 1e6 if len(lately) == looked_at else seconds
            return len(lately) / max(span_s, 1.0)
    return 0.0


def _batch_records(log: Log) -> int:
    return max(1, RECORDS_MAX // (_PLACES * log.partition_count))


def _places(log: Log) -> Iterator[tuple[int, int]]:
    """Yield partitions and offsets to read at, evenly over all of the log."""
    starts, ends = log.starts(), log.ends()
    size = _batch_records(log)
    places = []
    for partition in sorted(ends):
        start, end = starts[partition], ends[partition]
        step = max(size, (end - start) // _PLACES)
        places += [(number, partition, place) for number, place in enumerate(range(start, end, step))]
    # One place of each partition after the other, so that whoever stops early has seen all partitions.
    yield from ((partition, place) for _, partition, place in sorted(places))


def _rekeyed(batch: RecordBatch, rekeying: Rekeying) -> RecordBatch:
    """Return the records of a batch that a repartitioned log would hold, under their keys there."""
    kept = []
    for index, value in enumerate(batch.values):
        try:
            key = rekeying.key_of(value)
        except Rejected:
            continue
        if key is not None:
            kept.append((index, key))
    return RecordBatch(
        batch.partition,
        [batch.offsets[index] for index, _ in kept],
        [key for _, key in kept],
        [batch.values[index] for index, _ in kept],
        [batch.event_times_us[index] for index, _ in kept],
        [batch.appended_at_us[index] for index, _ in kept],
        batch.next_offset,
        batch.event_time_max_us,
    )
