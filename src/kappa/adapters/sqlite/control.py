"""The control store on SQLite: one small file, every method one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kappa.adapters.sqlite.connection import connect, create, sqlite_errors, transaction
from kappa.errors import ReleaseMoved, VersionInUse
from kappa.model.schema import ViewTable
from kappa.ports.control import RejectedInput, Release, Version

_SCHEMA = """
    CREATE TABLE versions (
        view TEXT, version INTEGER, view_table TEXT NOT NULL, fingerprint TEXT NOT NULL, created_at TEXT NOT NULL,
        retired_at TEXT, PRIMARY KEY (view, version)
    );
    CREATE TABLE release (revision INTEGER NOT NULL);
    INSERT INTO release VALUES (0);
    CREATE TABLE primaries (view TEXT PRIMARY KEY, version INTEGER NOT NULL);
    CREATE TABLE epochs (
        view TEXT, version INTEGER, worker_group INTEGER, epoch INTEGER NOT NULL,
        PRIMARY KEY (view, version, worker_group)
    );
    CREATE TABLE rejected (
        source TEXT, place INTEGER, line INTEGER NOT NULL, value BLOB NOT NULL, size_bytes INTEGER NOT NULL,
        reason TEXT NOT NULL, PRIMARY KEY (source, place)
    )
"""

_SELECT_VERSIONS = "SELECT view_table, fingerprint, created_at, retired_at FROM versions"


class SqliteControl:
    """The control store in one file, created if it is not there. Not for use by two threads."""

    def __init__(self, file: Path) -> None:
        create(file, _SCHEMA)
        self._file = file
        self._connection = connect(file)

    def deploy(self, table: ViewTable, *, fingerprint: str) -> Version:
        with sqlite_errors(self._file), transaction(self._connection):
            recorded = self.versions(table.view)
            if 1 <= table.version <= len(recorded) and recorded[table.version - 1].fingerprint == fingerprint:
                return recorded[table.version - 1]
            if table.version != len(recorded) + 1:
                reason = f"cannot be deployed: the next version is v{len(recorded) + 1}"
                raise VersionInUse(view=table.view, version=table.version, reason=reason)
            version = Version(table, fingerprint, datetime.now(UTC))
            self._connection.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?, NULL)",
                (
                    table.view,
                    table.version,
                    msgspec.json.encode(table).decode(),
                    fingerprint,
                    version.created_at.isoformat(),
                ),
            )
            return version

    def versions(self, view: str | None = None) -> Sequence[Version]:
        with sqlite_errors(self._file):
            found = self._connection.execute(
                f"{_SELECT_VERSIONS} WHERE view = ifnull(?, view) ORDER BY view, version", (view,)
            )
            return [_version(*columns) for columns in found]

    def retire(self, view: str, version: int) -> None:
        with sqlite_errors(self._file), transaction(self._connection):
            if self.release().primaries.get(view) == version:
                raise VersionInUse(view=view, version=version, reason="is primary, so it cannot be retired")
            self._connection.execute(
                "UPDATE versions SET retired_at = ifnull(retired_at, ?) WHERE view = ? AND version = ?",
                (datetime.now(UTC).isoformat(), view, version),
            )

    def release(self) -> Release:
        # One statement, so that revision and primaries are of one moment.
        with sqlite_errors(self._file):
            found = self._connection.execute(
                "SELECT revision, view, version FROM release LEFT JOIN primaries ORDER BY view"
            ).fetchall()
        return Release(found[0][0], {view: version for _, view, version in found if view is not None})

    def promote(self, primaries: Mapping[str, int], *, expected_revision: int) -> Release:
        with sqlite_errors(self._file), transaction(self._connection):
            found = self.release().revision
            if found != expected_revision:
                raise ReleaseMoved(expected=expected_revision, found=found)
            live = {
                (version.table.view, version.table.version) for version in self.versions() if version.retired_at is None
            }
            assert primaries.items() <= live, (primaries, live)
            self._connection.executemany("INSERT OR REPLACE INTO primaries VALUES (?, ?)", list(primaries.items()))
            self._connection.execute("UPDATE release SET revision = revision + 1")
            return self.release()

    def next_epoch(self, table: ViewTable, group: int) -> int:
        with sqlite_errors(self._file), transaction(self._connection):
            found = self._connection.execute(
                "INSERT INTO epochs VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
                (table.view, table.version, group),
            ).fetchone()
        epoch: int = found[0]
        return epoch

    def reject(self, inputs: Sequence[RejectedInput]) -> None:
        with sqlite_errors(self._file), transaction(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO rejected VALUES (?, ?, ?, ?, ?, ?)",
                [(each.source, each.place, each.line, each.value, each.size_bytes, each.reason) for each in inputs],
            )

    def rejected(
        self, *, limit: int, source: str | None = None, after: tuple[str, int] | None = None
    ) -> Sequence[RejectedInput]:
        with sqlite_errors(self._file):
            found = self._connection.execute(
                "SELECT source, place, line, value, size_bytes, reason FROM rejected"
                " WHERE (source, place) > (?, ?) AND source = ifnull(?, source) ORDER BY source, place LIMIT ?",
                (*(after or ("", -1)), source, limit),
            )
            return [RejectedInput(*columns) for columns in found]

    def rejected_count(self) -> int:
        with sqlite_errors(self._file):
            count: int = self._connection.execute("SELECT count(*) FROM rejected").fetchone()[0]
        return count

    def accept(self, source: str, place: int) -> None:
        with sqlite_errors(self._file), transaction(self._connection):
            self._connection.execute("DELETE FROM rejected WHERE source = ? AND place = ?", (source, place))

    def close(self) -> None:
        self._connection.close()


def _version(view_table: str, fingerprint: str, created_at: str, retired_at: str | None) -> Version:
    return Version(
        msgspec.json.decode(view_table, type=ViewTable),
        fingerprint,
        datetime.fromisoformat(created_at),
        None if retired_at is None else datetime.fromisoformat(retired_at),
    )
