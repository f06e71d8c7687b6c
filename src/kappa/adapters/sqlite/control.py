"""The control store on SQLite: one small file, every method one transaction. Its parts are the `control_` modules."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kappa.adapters.sqlite import control_bundles, control_plans, control_rejected, control_release, control_versions
from kappa.adapters.sqlite.connection import connect, create
from kappa.adapters.sqlite.control_bundles import SqliteBundles
from kappa.adapters.sqlite.control_plans import SqlitePlans
from kappa.adapters.sqlite.control_rejected import SqliteRejected
from kappa.adapters.sqlite.control_release import SqliteRelease
from kappa.adapters.sqlite.control_versions import SqliteVersions
from kappa.ports.engine import RunReport

# Rises when the tables change; a file of another format is refused.
FORMAT = 3

_PARTS = (control_versions, control_bundles, control_release, control_plans, control_rejected)
_SCHEMA = f"""
    {"".join(part.SCHEMA for part in _PARTS)}
    CREATE TABLE report (id INTEGER PRIMARY KEY CHECK (id = 1), document TEXT NOT NULL)
"""


class SqliteControl(SqliteVersions, SqliteBundles, SqliteRelease, SqlitePlans, SqliteRejected):
    """The control store in one file, created if it is not there. Not for use by two threads."""

    def __init__(self, file: Path) -> None:
        create(file, _SCHEMA, schema_format=FORMAT)
        super().__init__(file, connect(file, schema_format=FORMAT))

    def report(self, report: RunReport) -> None:
        # A report that a power failure takes was worth nothing. In write-ahead mode NORMAL leaves out the fsync of a
        # commit and no more: the next commit that is made durable takes it along.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        try:
            with self._transaction() as connection:
                document = msgspec.json.encode(report).decode()
                connection.execute("INSERT OR REPLACE INTO report VALUES (1, ?)", (document,))
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")

    def last_report(self) -> RunReport | None:
        found = self._select("SELECT document FROM report")
        return msgspec.json.decode(found[0][0], type=RunReport) if found else None

    def close(self) -> None:
        self._connection.close()
