"""The release and the history in the control store. The release is one document, so it is read and swapped whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from kappa.adapters.sqlite.control_file import ControlFile
from kappa.adapters.sqlite.control_reading import read_release, read_versions
from kappa.adapters.sqlite.control_versions import RETIRE
from kappa.ports.release import HistoryEntry, Release
from kappa.ports.rules import refuse_release, retired_with

SCHEMA = """
    CREATE TABLE release (document TEXT NOT NULL);
    INSERT INTO release VALUES ('{"revision":0,"primaries":{}}');
    CREATE TABLE history (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at TEXT NOT NULL, actor TEXT NOT NULL,
        action TEXT NOT NULL, view TEXT, version INTEGER, detail TEXT NOT NULL
    );
"""

_INSERT_ENTRY = """
    INSERT INTO history (id, at, actor, action, view, version, detail) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""


class SqliteRelease(ControlFile):
    """The release and the history."""

    def release(self) -> Release:
        with self._reading() as connection:
            return read_release(connection)

    def change_release(
        self, release: Release, *, expected_revision: int, entry: HistoryEntry, retiring: Sequence[HistoryEntry] = ()
    ) -> Release:
        assert release.revision == expected_revision + 1, (release, expected_revision)
        with self._transaction() as connection:
            refuse_release(
                release,
                current=read_release(connection),
                expected_revision=expected_revision,
                versions=read_versions(connection),
            )
            connection.execute("UPDATE release SET document = ?", (msgspec.json.encode(release).decode(),))
            for view, version in retired_with(release, retiring):
                connection.execute(RETIRE, (datetime.now(UTC).isoformat(), False, view, version))
            connection.executemany(_INSERT_ENTRY, [_columns(each) for each in (entry, *retiring)])
        return release

    def record(self, entry: HistoryEntry) -> None:
        with self._transaction() as connection:
            connection.execute(_INSERT_ENTRY, _columns(entry))

    def history(self, *, view: str | None = None, limit: int) -> Sequence[HistoryEntry]:
        # If either side is NULL, so is the comparison: every view is asked for, or several are meant.
        return self._records(
            HistoryEntry,
            "SELECT id, at, actor, action, view, version, detail FROM history"
            " WHERE ifnull(view = ?, 1) ORDER BY number DESC LIMIT ?",
            (view, limit),
        )


def _columns(entry: HistoryEntry) -> tuple[str | int | None, ...]:
    return entry.id, entry.at.isoformat(), entry.actor, entry.action, entry.view, entry.version, entry.detail
