"""Fold records as an engine does: bytes in, rows and dead letters out."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from kappa import Event, View
from kappa.model.kernel import Kernel
from kappa.model.records import Changes, RecordBatch
from kappa.model.views import view_spec

AT = "2026-03-01T12:00:00Z"


def wire(kind: str, /, **fields: Any) -> bytes:
    """Return the bytes of an event, with a time unless there is one."""
    return json.dumps({"type": kind, "timestamp": AT, **fields}).encode()


def batch(records: Sequence[tuple[bytes | None, bytes]], *, start: int = 0, partition: int = 0) -> RecordBatch:
    """Return (key, value) pairs as a batch whose first offset is `start`."""
    count = len(records)
    return RecordBatch(
        partition=partition,
        offsets=range(start, start + count),
        keys=[key for key, _ in records],
        values=[value for _, value in records],
        event_times_us=[0] * count,
        appended_at_us=[0] * count,
        next_offset=start + count,
    )


def new_kernel(
    view: type[View],
    *,
    events: Collection[type[Event]] | None = None,
    load: Callable[[Sequence[bytes]], Mapping[bytes, bytes]] = lambda _: {},
    rows_max: int = 1_000,
) -> Kernel:
    """Return a kernel for a view in a project that has only its events, if no others are named."""
    return Kernel(view, events=view_spec(view).events if events is None else events, load=load, rows_max=rows_max)


def fold_values(view: type[View], values: Iterable[bytes], *, key: bytes | None = b"x") -> Changes:
    """Return what values of one key do to a view."""
    kernel = new_kernel(view)
    kernel.fold(batch([(key, value) for value in values]))
    return kernel.take_changes()


def columns(changes: Changes) -> list[tuple[Any, ...] | None]:
    """Return the columns of the changed rows."""
    return [row.columns for row in changes.rows]


def reasons(changes: Changes) -> list[str]:
    """Return why records were set aside."""
    return [letter.reason for letter in changes.dead_letters]
