"""Facts to plan from: a view `carrier`, what is deployed of it, and a log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from kappa.model.fingerprint import combine
from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.planning.estimates import LogFacts
from kappa.planning.facts import Facts, ViewFacts
from kappa.planning.plans import Plan
from kappa.planning.steps import describe
from kappa.ports import Release, Seed, Version

AT = datetime(2026, 1, 1, tzinfo=UTC)
OLD = {"key": "('carrier',)", "fold flights": "count(Departed)"}
NEW = {"key": "('carrier',)", "fold flights": "count(Departed where (Departed.delay > 15))"}
LOG = LogFacts("events", starts={0: 0, 1: 0}, ends={0: 60_000, 1: 40_000}, size_bytes=8_000_000, arrival_rate=0.0)


def table(view: str = "carrier", version: int = 0) -> ViewTable:
    key = (Column(view, ColumnType.TEXT),)
    columns = (Column("flights", ColumnType.INTEGER),)
    return ViewTable(view, version, key, columns, log="events", partition_count=2, group_count=1)


def deployed(number: int, parts: Mapping[str, str] = OLD, view: str = "carrier", **more: Any) -> Version:
    """A version that runs, unless it says otherwise."""
    values = {"bundle": "b1", "created_at": AT, "seeded": True} | more
    return Version(table=table(view, number), fingerprint=combine(parts), parts=parts, **values)


def in_code(parts: Mapping[str, str] = NEW, view: str = "carrier", **more: Any) -> ViewFacts:
    """A view in the project's code."""
    return ViewFacts(**{"table": table(view), "fingerprint": combine(parts), "parts": parts, "worker_rate": 5e4} | more)


def facts(*versions: Version, code: ViewFacts | None = None, primary: int | None = 1, **more: Any) -> Facts:
    """All that is known: by default the view's code has changed since v1."""
    values: dict[str, Any] = {
        "strategy": "full",
        "bundle": "b2",
        "views": {"carrier": code or in_code()},
        "versions": versions,
        "release": Release(7, {} if primary is None else {"carrier": primary}),
        "logs": {"events": LOG},
        "cores": 2,
    }
    return Facts(**values | more)


def released(given: Facts, **change: Any) -> Facts:
    """The same with another release."""
    return msgspec.structs.replace(given, release=msgspec.structs.replace(given.release, **change))


def steps(plan: Plan) -> list[str]:
    """The steps, as people read them."""
    return [describe(step) for step in plan.steps]


def migration(base: int = 1) -> Seed:
    return Seed("migration", base)
