"""Deployments for the laws of a control store, in the suites and in the processes that they start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.ports.release import HistoryEntry
from kappa.ports.versions import Deployment, Seed

USERS = ViewTable(
    view="users",
    version=1,
    key=(Column("user_id", ColumnType.TEXT),),
    columns=(Column("orders", ColumnType.INTEGER), Column("email", ColumnType.TEXT, nullable=True)),
    log="events",
    partition_count=4,
    group_count=2,
)
USERS_2 = msgspec.structs.replace(USERS, version=2)
CITIES = msgspec.structs.replace(USERS, view="cities", log="events-by-city")
CITIES_2 = msgspec.structs.replace(CITIES, version=2)

CODE = b"PK\5\6 code"  # every deployment runs from this bundle
MIGRATION = Seed("migration", base=1)


def deployment(
    table: ViewTable = USERS,
    *,
    fingerprint: str = "f1",
    parts: Mapping[str, str] | None = None,
    seed: Seed | None = None,
    expectations: Mapping[str, str] | None = None,
) -> Deployment:
    """Return what makes a version of `table`."""
    return Deployment(
        table,
        fingerprint,
        parts or {"fold orders": "count(OrderPlaced)"},
        hashlib.sha256(CODE).hexdigest(),
        seed,
        expectations or {},
    )


def entry(
    entry_id: str, *, action: str = "promote", view: str | None = None, version: int | None = None, detail: str = ""
) -> HistoryEntry:
    """Return a history entry."""
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return HistoryEntry(id=entry_id, at=at, actor="ana", action=action, view=view, version=version, detail=detail)
