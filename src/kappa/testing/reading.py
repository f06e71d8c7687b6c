"""Read a whole log in a test, batch by batch: a log may return fewer records than it was asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from kappa.model.records import RecordBatch
from kappa.ports import Log


def batches_of(log: Log, partition: int, start: int = 0, *, records_max: int = 1_000) -> Iterator[RecordBatch]:
    """Yield the batches of one partition from offset `start` to its end; one that only passes a gap is empty."""
    while (batch := log.read(partition, start, records_max=records_max)).next_offset > start:
        yield batch
        start = batch.next_offset


def batches_before(log: Log, partition: int, end: int, *, start: int = 0) -> Iterator[RecordBatch]:
    """Yield the records of one partition from offset `start` to `end`, which one batch of a log with gaps may pass."""
    for batch in batches_of(log, partition, start):
        yield _before(batch, end)
        if batch.next_offset >= end:
            return


def _before(batch: RecordBatch, end: int) -> RecordBatch:
    """Return the records of a batch before offset `end`."""
    count = bisect_left(batch.offsets, end)
    return RecordBatch(
        batch.partition,
        batch.offsets[:count],
        batch.keys[:count],
        batch.values[:count],
        batch.event_times_us[:count],
        batch.appended_at_us[:count],
        min(batch.next_offset, end),
        batch.event_time_max_us,
        batch.origins[:count],
    )


def all_batches(log: Log) -> Iterator[RecordBatch]:
    """Yield the batches of all partitions, one partition after the other."""
    for partition in range(log.partition_count):
        yield from batches_of(log, partition)
