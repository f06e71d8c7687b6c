"""What several parts of the control store go by, in a transaction that one of them lends: the release, the versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg.rows import dict_row

from kappa.adapters.postgres.database import Connection
from kappa.ports import stored
from kappa.ports.release import Release
from kappa.ports.versions import Version

_SELECT_VERSIONS = """
    SELECT deployment, created_at, seeded, seed_note, seed_position, retired_at, aborted, dropped_at FROM versions
    WHERE view = coalesce(%s, view) ORDER BY view, version
"""


def rows_by_name(connection: Connection, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Return what one statement finds, each row by the names of its columns."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql, parameters).fetchall()


def read_release(connection: Connection) -> Release:
    """Return the current release."""
    ((document,),) = connection.execute("SELECT document FROM release").fetchall()
    return msgspec.json.decode(document, type=Release)


def read_versions(connection: Connection, view: str | None = None) -> list[Version]:
    """Return versions by view and number, of one view if given."""
    return [stored.version(columns) for columns in rows_by_name(connection, _SELECT_VERSIONS, (view,))]
