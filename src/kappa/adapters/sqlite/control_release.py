"""The release and the history in the control store. The release is one document, so it is read and swapped whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from kappa.adapters.sqlite.control_file import ControlFile
from kappa.errors import ReleaseMoved, VersionInUse
from kappa.ports.release import HistoryEntry, Release

SCHEMA = """
    CREATE TABLE release (document TEXT NOT NULL);
    INSERT INTO release VALUES ('{"revision":0,"primaries":{}}');
    CREATE TABLE history (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at TEXT NOT NULL, actor TEXT NOT NULL,
        action TEXT NOT NULL, view TEXT, version INTEGER, detail TEXT NOT NULL
    );
"""

_READ = "SELECT document FROM release"

_INSERT_ENTRY = """
    INSERT INTO history (id, at, actor, action, view, version, detail) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""


def read_release(connection: sqlite3.Connection) -> Release:
    """Return the current release."""
    document: str = connection.execute(_READ).fetchone()[0]
    return msgspec.json.decode(document, type=Release)


class SqliteRelease(ControlFile):
    """The release and the history."""

    def release(self) -> Release:
        return msgspec.json.decode(self._select(_READ)[0][0], type=Release)

    def change_release(self, release: Release, *, expected_revision: int, entry: HistoryEntry) -> Release:
        assert release.revision == expected_revision + 1, (release, expected_revision)
        with self._transaction() as connection:
            found = read_release(connection).revision
            if found != expected_revision:
                raise ReleaseMoved(expected=expected_revision, found=found)
            for view, version in _named(release):
                _check_usable(connection, view, version)
            connection.execute("UPDATE release SET document = ?", (msgspec.json.encode(release).decode(),))
            connection.execute(_INSERT_ENTRY, _columns(entry))
        return release

    def record(self, entry: HistoryEntry) -> None:
        with self._transaction() as connection:
            connection.execute(_INSERT_ENTRY, _columns(entry))

    def history(self, *, view: str | None = None, limit: int) -> Sequence[HistoryEntry]:
        # If either side is NULL, so is the comparison: every view is asked for, or several are meant.
        found = self._select(
            "SELECT id, at, actor, action, view, version, detail FROM history"
            " WHERE ifnull(view = ?, 1) ORDER BY number DESC LIMIT ?",
            (view, limit),
        )
        return [_entry(*columns) for columns in found]


def _named(release: Release) -> Iterator[tuple[str, int]]:
    """Yield every (view, version) that a release needs."""
    yield from release.primaries.items()
    for view, canary in release.canaries.items():
        yield view, canary.version
    for view, former in release.formers.items():
        yield view, former.version


def _check_usable(connection: sqlite3.Connection, view: str, version: int) -> None:
    """Refuse a version that readers cannot be shown.

    Raises:
        VersionInUse: It is not deployed, not seeded, or retired.
    """
    found = connection.execute(
        "SELECT seeded, retired_at FROM versions WHERE view = ? AND version = ?", (view, version)
    ).fetchone()
    match found:
        case None:
            reason = "is not deployed"
        case (0, _):
            reason = "is not seeded yet"
        case (_, None):
            return
        case _:
            reason = "is retired"
    raise VersionInUse(view=view, version=version, reason=f"{reason}: the release cannot name it")


def _columns(entry: HistoryEntry) -> tuple[str | int | None, ...]:
    return entry.id, entry.at.isoformat(), entry.actor, entry.action, entry.view, entry.version, entry.detail


def _entry(
    entry_id: str, at: str, actor: str, action: str, view: str | None, version: int | None, detail: str
) -> HistoryEntry:
    return HistoryEntry(
        id=entry_id,
        at=datetime.fromisoformat(at),
        actor=actor,
        action=action,
        view=view,
        version=version,
        detail=detail,
    )
