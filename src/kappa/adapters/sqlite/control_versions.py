"""Versions and epochs in the control store. What a version is made of is one JSON document, which never changes but for
what is expected of the version.

The columns beside it are what happens to the version later on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from kappa.adapters.sqlite.control_file import ControlFile
from kappa.adapters.sqlite.control_reading import read_release, read_versions
from kappa.errors import BundleNotFound
from kappa.model.records import Position
from kappa.model.schema import ViewTable
from kappa.ports.rules import recorded_as, refuse_fenced_seed, refuse_retiring
from kappa.ports.versions import Deployment, Version

SCHEMA = """
    CREATE TABLE versions (
        view TEXT, version INTEGER, deployment TEXT NOT NULL, created_at TEXT NOT NULL, seeded INTEGER NOT NULL,
        seed_note TEXT NOT NULL DEFAULT '', seed_position TEXT NOT NULL DEFAULT '{}',
        retired_at TEXT, aborted INTEGER NOT NULL DEFAULT 0, dropped_at TEXT,
        PRIMARY KEY (view, version)
    );
    CREATE TABLE epochs (
        view TEXT, version INTEGER, worker_group INTEGER, epoch INTEGER NOT NULL,
        PRIMARY KEY (view, version, worker_group)
    );
"""

# A version is retired once.
RETIRE = "UPDATE versions SET retired_at = ?, aborted = ? WHERE view = ? AND version = ? AND retired_at IS NULL"


class SqliteVersions(ControlFile):
    """The versions of all views."""

    def deploy(self, deployment: Deployment) -> Version:
        table, document = deployment.table, msgspec.json.encode(deployment).decode()
        with self._transaction() as connection:
            if known := recorded_as(deployment, read_versions(connection, table.view)):
                connection.execute(
                    "UPDATE versions SET deployment = ? WHERE view = ? AND version = ?",
                    (document, table.view, table.version),
                )
                return known
            if not self._select("SELECT 1 FROM bundles WHERE id = ?", (deployment.bundle,)):
                raise BundleNotFound(bundle=deployment.bundle)
            connection.execute(
                "INSERT INTO versions (view, version, deployment, created_at, seeded) VALUES (?, ?, ?, ?, ?)",
                (table.view, table.version, document, datetime.now(UTC).isoformat(), deployment.seed is None),
            )
            return read_versions(connection, table.view)[-1]

    def versions(self, view: str | None = None) -> Sequence[Version]:
        with self._reading() as connection:
            return read_versions(connection, view)

    def seeded(self, table: ViewTable, *, epochs: Mapping[int, int], position: Position, note: str) -> None:
        with self._transaction() as connection:
            if _recorded(connection, table.view, table.version).seeded:
                return
            given = dict(
                self._select(
                    "SELECT worker_group, epoch FROM epochs WHERE view = ? AND version = ?", (table.view, table.version)
                )
            )
            refuse_fenced_seed(table, epochs=epochs, given=given)
            connection.execute(
                "UPDATE versions SET seeded = 1, seed_note = ?, seed_position = ? WHERE view = ? AND version = ?",
                (note, msgspec.json.encode(position).decode(), table.view, table.version),
            )

    def retire(self, view: str, version: int, *, aborted: bool = False) -> None:
        with self._transaction() as connection:
            if _recorded(connection, view, version).retired_at is not None:
                return
            refuse_retiring(view, version, read_release(connection))
            connection.execute(RETIRE, (datetime.now(UTC).isoformat(), aborted, view, version))

    def dropped(self, view: str, version: int) -> None:
        with self._transaction() as connection:
            assert _recorded(connection, view, version).retired_at is not None, (view, version)
            connection.execute(
                "UPDATE versions SET dropped_at = ifnull(dropped_at, ?) WHERE view = ? AND version = ?",
                (datetime.now(UTC).isoformat(), view, version),
            )

    def next_epoch(self, table: ViewTable, group: int) -> int:
        with self._transaction() as connection:
            found = connection.execute(
                "INSERT INTO epochs VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
                (table.view, table.version, group),
            ).fetchone()
        epoch: int = found[0]
        return epoch


def _recorded(connection: sqlite3.Connection, view: str, version: int) -> Version:
    versions = read_versions(connection, view)
    assert 1 <= version <= len(versions), f"{view} v{version} was never deployed"
    return versions[version - 1]
