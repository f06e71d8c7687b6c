"""Read a whole log in a test, batch by batch: a log may return fewer records than it was asked for."""

from __future__ import annotations

from collections.abc import Iterator

from kappa.model.records import RecordBatch
from kappa.ports import Log


def batches_of(log: Log, partition: int, start: int = 0, *, records_max: int = 1_000) -> Iterator[RecordBatch]:
    """Yield the batches of one partition from offset `start` to its end."""
    while batch := log.read(partition, start, records_max=records_max):
        yield batch
        start = batch.next_offset


def all_batches(log: Log) -> Iterator[RecordBatch]:
    """Yield the batches of all partitions, one partition after the other."""
    for partition in range(log.partition_count):
        yield from batches_of(log, partition)
