"""Read what a log holds of some keys, and fold the events of one key one by one with the code of a version.

The log is the truth: a diff settles its doubts here, and `kappa why` tells a row's story. No store is read or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kappa.control.code import ViewCode
from kappa.control.counting import Counting
from kappa.model.interleaving import interleave
from kappa.model.kernel import Kernel
from kappa.model.records import Progress, Record, RecordBatch
from kappa.ports import Log

_READ_RECORDS = 1_000

# Offsets from the first to one past the last: [start, end).
Span = tuple[int, int]


LOG_START = Progress()


def events_of_keys(log: Log, partition: int, spans: Mapping[bytes, Span], *, since: Progress) -> Iterator[RecordBatch]:
    """Yield the records of some keys of one partition, of each key those within its span, in log order.

    One batch for each that the log reads, empty ones too: `next_offset` says how far it was read.

    Args:
        log: What to read.
        partition: Which of its partitions.
        spans: Record key -> which of its records.
        since: Where to begin, at or before the first span: which events were copied before is known only there.

    Raises:
        HistoryLost: The log no longer holds where it begins.
    """
    start, end = since.next_offset, max(end for _, end in spans.values())
    assert start <= min(start for start, _ in spans.values()), (since, spans)
    newest = since.origins
    while start < end:
        batch, newest = interleave(log.read(partition, start, records_max=min(_READ_RECORDS, end - start)), newest)
        places = [
            at
            for at, (offset, key) in enumerate(zip(batch.offsets, batch.keys, strict=True))
            if key is not None and (span := spans.get(key)) is not None and span[0] <= offset < span[1]
        ]
        yield RecordBatch(
            partition,
            [batch.offsets[at] for at in places],
            [batch.keys[at] for at in places],
            [batch.values[at] for at in places],
            [batch.event_times_us[at] for at in places],
            [batch.appended_at_us[at] for at in places],
            batch.next_offset,
        )
        if batch.next_offset <= start:  # the log ends here
            return
        start = batch.next_offset


class Folded(msgspec.Struct, frozen=True):
    """What one event did to the row of its key.

    Attributes:
        columns: The row's public columns after it; None while there is no row.
        reason: Why the event was set aside; empty if it was folded or passed over.
        passed_over: Whether the version does not fold such events.
    """

    columns: tuple[Any, ...] | None
    reason: str
    passed_over: bool


class KeyFolder:
    """Folds the events of one key from its first on, one at a time, by the kernel itself.

    Attributes:
        columns: The row's public columns so far; None while there is no row.
    """

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._kernels = {True: self._kernel(counting.own), False: self._kernel(counting.base)}
        self._by_own = True
        self.columns: tuple[Any, ...] | None = None
        self._states: dict[bytes, bytes] = {}  # of the one row, once there is one

    def fold(self, record: Record) -> Folded:
        """Fold the key's next event and return what came of it."""
        by_own = self._counting.by_own(record)
        kernel = self._kernels[by_own]
        if by_own != self._by_own:
            kernel.forget()  # the other one has changed the row
            self._by_own = by_own
        kernel.fold(
            RecordBatch(
                record.partition,
                (record.offset,),
                (record.key,),
                (record.value,),
                (record.event_time_us,),
                (record.appended_at_us,),
                record.offset + 1,
            )
        )
        changes = kernel.take_changes()
        for row in changes.rows:
            assert row.state is not None, row
            self.columns, self._states[row.key] = row.columns, row.state
        reason = "".join(letter.reason for letter in changes.dead_letters)
        return Folded(self.columns, reason, passed_over=not changes.rows and not reason)

    def _kernel(self, code: ViewCode) -> Kernel:
        return Kernel(code.view, events=code.events, load=self._load, rows_max=4)

    def _load(self, _: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._states


class Readable(msgspec.Struct, frozen=True):
    """An event for people: its type, as far as it has one, and its JSON, or its bytes if it is none."""

    type: str | None
    value: Any


def readable(value: bytes) -> Readable:
    """Return an event as it can be shown.

    >>> readable(b'{"type":"Moved","city":"Oslo"}')
    Readable(type='Moved', value={'type': 'Moved', 'city': 'Oslo'})
    >>> readable(b"not json")
    Readable(type=None, value=b'not json')
    """
    try:
        event = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Readable(None, value)
    kind = event.get("type") if isinstance(event, dict) else None
    return Readable(kind if isinstance(kind, str) else None, event)
