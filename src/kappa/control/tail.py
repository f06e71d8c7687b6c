"""Read a log's records in the order of their appending, across its partitions. Ends at the log's end; never waits."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from kappa.model.events import EPOCH
from kappa.model.records import Record
from kappa.ports import Log

_READ_RECORDS = 1_000


def records_from(log: Log, position: Mapping[int, int]) -> Iterator[Record]:
    """Yield the records from `position` to the end of its partitions, oldest append first."""
    ends = log.ends()
    yield from heapq.merge(
        *(_partition(log, partition, start, ends[partition]) for partition, start in position.items()),
        key=_appended,
    )


def last_records(log: Log, partitions: tuple[int, ...], *, records_max: int) -> list[Record]:
    """Return the last records of some partitions, in the order of `records_from`."""
    starts, ends = log.starts(), log.ends()
    found = (
        _last(log, partition, starts[partition], ends[partition], records_max=records_max) for partition in partitions
    )
    return sorted(itertools.chain.from_iterable(found), key=_appended)[-records_max:]


def time_of(time_us: int) -> datetime:
    """Return an event or append time as a datetime.

    >>> time_of(1_500_000).isoformat()
    '1970-01-01T00:00:01.500000+00:00'
    """
    return EPOCH + timedelta(microseconds=time_us)


def _appended(record: Record) -> tuple[int, int, int]:
    return record.appended_at_us, record.partition, record.offset


def _last(log: Log, partition: int, start: int, end: int, *, records_max: int) -> list[Record]:
    """Return the last records of a partition, reading further and further back: offsets have gaps."""
    offsets = records_max
    while True:
        begin = max(start, end - offsets)
        found = list(_partition(log, partition, begin, end))[-records_max:]
        if len(found) == records_max or begin == start:
            return found
        offsets *= 2


def _partition(log: Log, partition: int, start: int, end: int) -> Iterator[Record]:
    while start < end:
        batch = log.read(partition, start, records_max=min(_READ_RECORDS, end - start))
        yield from batch
        start = batch.next_offset
