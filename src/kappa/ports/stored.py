"""Records of the control store as a database keeps them, and back: a column a field, or a document in JSON.

Pure. A database gives what it has for a type that it lacks: text for a time, 0 and 1 for truth; what comes back is the
record as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from kappa.ports.versions import Version

Record = TypeVar("Record", bound=msgspec.Struct)


def record(kind: type[Record], columns: Mapping[str, Any]) -> Record:
    """Return a record from its fields as they are stored.

    >>> from kappa.ports import PlanRecord
    >>> stored = {"number": 1, "created_at": "2026-03-01T12:00:00+00:00", "actor": "ana", "document": b"{}"}
    >>> stored |= {"state": "planned", "steps_done": 0, "changed_at": "2026-03-01T12:00:00+00:00"}
    >>> plan = record(PlanRecord, stored)
    >>> plan.state, f"{plan.created_at:%H:%M %Z}"
    (<PlanState.PLANNED: 'planned'>, '12:00 UTC')
    """
    return msgspec.convert(columns, kind, strict=False)


def version(columns: Mapping[str, Any]) -> Version:
    """Return a version: what it is made of, and where its seed ends, are documents; the rest is what happened to it."""
    happened = dict(columns)
    made_of, position = (msgspec.json.decode(happened.pop(name)) for name in ("deployment", "seed_position"))
    return record(Version, {**made_of, **happened, "seed_position": position})
