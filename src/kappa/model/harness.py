"""Fold events in memory through the real kernel, bytes and all: for tests of views, and for `View.fold`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec

from kappa.errors import FoldFailed
from kappa.model.decoding import Rejected
from kappa.model.events import EPOCH, Event, encode_event
from kappa.model.kernel import Kernel
from kappa.model.records import DeadLetter, RecordBatch
from kappa.model.rekeying import Rekeying
from kappa.model.schema import decode_key
from kappa.model.views import View, view_spec

V = TypeVar("V", bound=View)
# An event, or what a producer of an older version has put into the log.
Foldable = Event | Mapping[str, Any]


def event_time_us(timestamp: datetime) -> int:
    """Return an event time in microseconds since 1970, UTC.

    >>> event_time_us(EPOCH)
    0
    """
    since = timestamp - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def fold_one(view: type[V], events: Iterable[Foldable]) -> V:
    """Return the row that events of one key give.

    Raises:
        ValueError: There are no events, or they have different keys.
        FoldFailed: An event would become a dead letter.
    """
    rows = fold_all(view, events)
    if len(rows) != 1:
        keys = ", ".join(sorted(map(str, rows))) or "none"
        raise ValueError(f"{view.__name__}.fold takes events of one key that the view folds, got keys: {keys}")
    return next(iter(rows.values()))


def fold_all(view: type[V], events: Iterable[Foldable]) -> dict[Any, V]:
    """Return the rows that events give, in this order, by key: a value, or a tuple for a view keyed by several fields.

    Events of types that the view does not fold are passed over, so one story can be told to several views. A dict
    stands for the JSON of an event of any version, so that upcasters can be tested.

    Raises:
        FoldFailed: An event would become a dead letter.

    >>> from kappa.model.folds import count
    >>> class PageView(Event):
    ...     page: str
    >>> class Popularity(View, key="page"):
    ...     views: int = count(PageView)
    >>> fold_all(Popularity, [PageView(page="/"), PageView(page="/cart"), {"type": "PageView", "page": "/"}])
    {'/': Popularity(page='/', views=2), '/cart': Popularity(page='/cart', views=1)}
    """
    spec = view_spec(view)
    listed = list(events)
    batch, refused = _batch(view, listed)
    kernel = Kernel(view, events=spec.events, load=lambda _: {}, rows_max=2 * len(listed) + 2, store_empty=True)
    kernel.fold(batch)
    for letter in sorted([*refused, *kernel.take_changes().dead_letters], key=lambda letter: letter.offset):
        raise FoldFailed(number=letter.offset + 1, event=listed[letter.offset], reason=letter.reason)
    rows = {}
    for key in dict.fromkeys(batch.keys):
        if key is not None and (row := kernel.row(key)) is not None:
            values = decode_key(key, spec.key_columns)
            rows[values[0] if len(values) == 1 else values] = row
    return rows


def _batch(view: type[View], events: list[Foldable]) -> tuple[RecordBatch, list[DeadLetter]]:
    """Return events as records, and as dead letters those whose key a producer could not have found."""
    spec = view_spec(view)
    rekeying = Rekeying(spec.key, spec.events)
    records: list[tuple[int, bytes | None, bytes, int]] = []
    refused: list[DeadLetter] = []
    for offset, event in enumerate(events):
        value = _value(event, offset)
        try:
            key = rekeying.key_of(value)
        except Rejected as error:
            refused.append(DeadLetter(0, offset, None, value, str(error)))
        else:
            records.append((offset, key, value, _time_us(value)))
    offsets, keys, values, times = zip(*records, strict=True) if records else ((), (), (), ())
    return RecordBatch(0, offsets, keys, values, times, (0,) * len(records), len(events)), refused


def _value(event: Foldable, offset: int) -> bytes:
    try:
        return encode_event(event) if isinstance(event, Event) else msgspec.json.encode(event)
    except (TypeError, ValueError, OverflowError) as error:
        raise FoldFailed(number=offset + 1, event=event, reason=f"it cannot be written as JSON: {error}") from error


class _Timed(msgspec.Struct):
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)] = EPOCH


def _time_us(value: bytes) -> int:
    """Return what a producer would write into the record's header; 0 for a time that it could not read."""
    try:
        return event_time_us(msgspec.json.decode(value, type=_Timed).timestamp)
    except msgspec.MsgspecError:
        return 0
