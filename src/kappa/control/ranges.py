"""Look at a range of event time in a log before it is replayed: how many events and keys it holds, or why it cannot be.

Event times are not in the order of the log, so from the range's first event on all of it is looked at, but only at
times and keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from kappa.control.event_times import check_times, seek
from kappa.control.tail import time_of
from kappa.errors import InputError
from kappa.model.events import EPOCH
from kappa.model.interleaving import Origins, interleave
from kappa.model.records import Position, RecordBatch
from kappa.ports import Log

# Enough to tell a few keys from nearly all of them; a set of so many takes about 100 MB.
KEYS_MAX = 1_000_000
_READ_RECORDS = 1_000


class TimeRange(msgspec.Struct, frozen=True):
    """A range of event time: `start` belongs to it, `end` does not; without an end it is open. Aware UTC."""

    start: datetime
    end: datetime | None

    @property
    def start_us(self) -> int:
        """The start, microseconds since 1970."""
        return time_us(self.start)

    @property
    def end_us(self) -> int | None:
        """The end, microseconds since 1970, or None."""
        return None if self.end is None else time_us(self.end)


class RangeContent(msgspec.Struct, frozen=True):
    """What a range of a log holds.

    Attributes:
        events: Records with an event time in it.
        keys: How many keys they have; `KEYS_MAX` stands for that many or more.
        passed_over: Offsets that were not looked at, on the word of the project that they cannot be in the range.
    """

    events: int
    keys: int
    passed_over: int = 0


def time_us(at: datetime) -> int:
    """Return a time as logs have it.

    >>> from datetime import UTC
    >>> time_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    # In whole numbers: a float of this size would round microseconds.
    return (at - EPOCH) // timedelta(microseconds=1)


def read_range(log: Log, wanted: TimeRange, *, now: datetime) -> RangeContent:
    """Count what a range holds.

    Raises:
        InputError: It is reversed, empty, in the future, or outside the log; the message says what the log holds.
        ProjectError: See `seek`.
    """
    start_us, end_us = wanted.start_us, wanted.end_us
    if end_us is not None and end_us <= start_us:
        raise InputError(
            f"the range ends at {wanted.end:%Y-%m-%d %H:%M:%S} UTC, which is not after its start",
            next_step="the earlier time goes to --from, the later one to --to",
        )
    starts, ends = log.starts(), log.ends()
    lost = any(starts.values())
    # If history is gone, what counts is whether the range begins before all that is left.
    begins = starts if lost else seek(log, start_us)
    found = _Found(start_us, end_us)
    found.look_at(log, begins, ends)
    if not found.events:
        found.look_at(log, starts, begins)  # to say what there is instead
    _refuse(log.name, wanted, found, lost=lost, now=now)
    relied_on = log.ahead_max_us is not None
    passed_over = sum(begins[partition] - start for partition, start in starts.items()) if relied_on else 0
    return RangeContent(found.events, min(len(found.keys), KEYS_MAX), passed_over)


class _Found:
    """What was seen of a log so far: its times, and of the range its events and their keys.

    Once there are events in the range, `last_us` is that of the whole log; nothing that is passed over is later.
    """

    def __init__(self, start_us: int, end_us: int | None) -> None:
        self._start_us, self._end_us = start_us, end_us
        self.first_us: int | None = None
        self.last_us = self.events = 0
        self.keys: set[bytes | None] = set()

    def look_at(self, log: Log, starts: Position, ends: Position) -> None:
        """Add what lies between two positions."""
        start_us, end_us = self._start_us, self._end_us
        for batch in _batches(log, starts, ends):
            times = batch.event_times_us
            low, high = min(times), max(times)
            first_us, last_us = (low, high) if self.first_us is None else (self.first_us, self.last_us)
            self.first_us, self.last_us = min(first_us, low), max(last_us, high)
            if high < start_us or (end_us is not None and low >= end_us):
                continue
            inside = [n for n, at in enumerate(times) if at >= start_us and (end_us is None or at < end_us)]
            self.events += len(inside)
            if len(self.keys) < KEYS_MAX:
                self.keys.update(batch.keys[n] for n in inside)


def _refuse(log: str, wanted: TimeRange, found: _Found, *, lost: bool, now: datetime) -> None:
    """Refuse a range that is empty, in the future, or outside the log."""
    first_us, last_us, start_us, end_us = found.first_us, found.last_us, wanted.start_us, wanted.end_us
    if first_us is None:
        raise InputError(f"the log '{log}' is empty", next_step="ingest events first: kappa ingest FILE")
    last = f"{time_of(last_us):%Y-%m-%d %H:%M:%S} UTC"
    held = f"the log '{log}' holds events from {time_of(first_us):%Y-%m-%d %H:%M:%S} to {last}"
    if start_us > last_us or (end_us is not None and end_us <= first_us) or (lost and start_us < first_us):
        raise InputError(f"the range lies outside the log: {held}", next_step="choose a range within it")
    if end_us is not None and end_us > max(last_us, time_us(now)):
        raise InputError(
            f"the range ends in the future: the log '{log}' holds events up to {last}",
            next_step="leave out --to for everything from --from on",
        )
    if not found.events:
        raise InputError(f"no event lies in the range: {held}", next_step="choose a range with events")


def _batches(log: Log, starts: Position, ends: Position) -> Iterator[RecordBatch]:
    for partition, end in sorted(ends.items()):
        place = starts[partition]
        newest: Origins = {}
        while place < end:
            batch, newest = interleave(log.read(partition, place, records_max=min(_READ_RECORDS, end - place)), newest)
            check_times(log, batch)
            if len(batch):
                yield batch
            place = batch.next_offset
