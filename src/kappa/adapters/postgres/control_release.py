"""The release and the history in the control store. The release is one document, so it is read and swapped whole.

With it, in the same transaction, the views change that any SQL client reads. Such a change waits for whoever reads a
view just now, and new readers wait behind it; so it waits briefly, lets them pass, and tries again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from psycopg import errors

from kappa.adapters.postgres.control_part import ControlPart
from kappa.adapters.postgres.control_reading import read_release, read_versions
from kappa.adapters.postgres.control_versions import RETIRE
from kappa.adapters.postgres.database import Connection
from kappa.adapters.postgres.public_views import swap
from kappa.adapters.postgres.values import escaped, unescaped
from kappa.errors import StoreUnavailable
from kappa.ports.release import HistoryEntry, Release
from kappa.ports.rules import refuse_release, retired_with

SCHEMA = """
    CREATE TABLE release (document text NOT NULL);
    INSERT INTO release VALUES ('{"revision":0,"primaries":{}}');
    CREATE TABLE history (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, at timestamptz NOT NULL,
        actor text NOT NULL, action text NOT NULL, view text, version integer, detail text NOT NULL
    );
"""

# How long readers wait at most behind a change of a view, and how long they are let pass before it tries again.
SWAP_LOCK_TIMEOUT_S = 0.25
SWAP_PAUSE_S = 0.25
# 40 of both are 20 seconds: by then somebody reads without end.
SWAP_ATTEMPTS_MAX = 40

_INSERT_ENTRY = """
    INSERT INTO history (id, at, actor, action, view, version, detail) VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""


class PostgresRelease(ControlPart):
    """The release and the history."""

    def release(self) -> Release:
        with self._reading() as connection:
            return read_release(connection)

    def change_release(
        self, release: Release, *, expected_revision: int, entry: HistoryEntry, retiring: Sequence[HistoryEntry] = ()
    ) -> Release:
        assert release.revision == expected_revision + 1, (release, expected_revision)
        for attempt in range(1, SWAP_ATTEMPTS_MAX + 1):
            try:
                self._try_to_change(release, expected_revision, entry, retiring)
            except StoreUnavailable as error:
                if attempt == SWAP_ATTEMPTS_MAX or not isinstance(error.__cause__, errors.LockNotAvailable):
                    raise
                time.sleep(SWAP_PAUSE_S)
            else:
                return release
        raise AssertionError("unreachable")

    def _try_to_change(
        self, release: Release, expected_revision: int, entry: HistoryEntry, retiring: Sequence[HistoryEntry]
    ) -> None:
        with self._transaction() as connection:
            current = read_release(connection)
            versions = read_versions(connection)
            refuse_release(release, current=current, expected_revision=expected_revision, versions=versions)
            connection.execute("UPDATE release SET document = %s", (msgspec.json.encode(release).decode(),))
            for view, version in retired_with(release, retiring):
                connection.execute(RETIRE, (datetime.now(UTC), False, view, version))
            for each in (entry, *retiring):
                _insert(connection, each)
            # Last, because from here on readers wait for the end of the transaction.
            connection.execute(f"SET LOCAL lock_timeout = {round(SWAP_LOCK_TIMEOUT_S * 1_000)}")
            tables = {(version.table.view, version.table.version): version.table for version in versions}
            changed = {
                view: tables[view, version]
                for view, version in sorted(release.primaries.items())
                if current.primaries.get(view) != version
            }
            gone = sorted(current.primaries.keys() - release.primaries.keys())
            swap(connection, self._database.names, changed=changed, gone=gone)

    def record(self, entry: HistoryEntry) -> None:
        with self._transaction() as connection:
            _insert(connection, entry)

    def history(self, *, view: str | None = None, limit: int) -> Sequence[HistoryEntry]:
        # If either side is NULL, so is the comparison: every view is asked for, or several are meant.
        found = self._records(
            HistoryEntry,
            "SELECT id, at, actor, action, view, version, detail FROM history"
            " WHERE coalesce(view = %s, true) ORDER BY number DESC LIMIT %s",
            (view, limit),
        )
        return [msgspec.structs.replace(entry, detail=unescaped(entry.detail)) for entry in found]


def _insert(connection: Connection, entry: HistoryEntry) -> None:
    connection.execute(
        _INSERT_ENTRY,
        (entry.id, entry.at, entry.actor, entry.action, entry.view, entry.version, escaped(entry.detail)),
    )
