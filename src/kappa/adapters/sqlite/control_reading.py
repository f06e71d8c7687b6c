"""What several parts of the control store go by, on a connection that one of them lends: the release, the versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from kappa.ports import stored
from kappa.ports.release import Release
from kappa.ports.versions import Version

_SELECT_VERSIONS = """
    SELECT deployment, created_at, seeded, seed_note, seed_position, retired_at, aborted, dropped_at FROM versions
    WHERE view = ifnull(?, view) ORDER BY view, version
"""


def rows_by_name(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Return what one statement finds, each row by the names of its columns."""
    cursor = connection.execute(sql, parameters)
    names = [name for name, *_ in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def read_release(connection: sqlite3.Connection) -> Release:
    """Return the current release."""
    document: str = connection.execute("SELECT document FROM release").fetchone()[0]
    return msgspec.json.decode(document, type=Release)


def read_versions(connection: sqlite3.Connection, view: str | None = None) -> list[Version]:
    """Return versions by view and number, of one view if given."""
    return [stored.version(columns) for columns in rows_by_name(connection, _SELECT_VERSIONS, (view,))]
