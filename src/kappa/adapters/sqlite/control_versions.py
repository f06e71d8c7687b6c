"""Versions and epochs in the control store. What a version is made of is one JSON document, which never changes but for
what is expected of the version.

The columns beside it are what happens to the version later on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from kappa.adapters.sqlite.control_file import ControlFile
from kappa.adapters.sqlite.control_release import read_release
from kappa.errors import BundleNotFound, Fenced, VersionInUse
from kappa.model.schema import ViewTable
from kappa.ports.versions import Deployment, Version

SCHEMA = """
    CREATE TABLE versions (
        view TEXT, version INTEGER, deployment TEXT NOT NULL, created_at TEXT NOT NULL, seeded INTEGER NOT NULL,
        seed_note TEXT NOT NULL DEFAULT '', retired_at TEXT, aborted INTEGER NOT NULL DEFAULT 0, dropped_at TEXT,
        PRIMARY KEY (view, version)
    );
    CREATE TABLE epochs (
        view TEXT, version INTEGER, worker_group INTEGER, epoch INTEGER NOT NULL,
        PRIMARY KEY (view, version, worker_group)
    );
"""

_SELECT = """
    SELECT deployment, created_at, seeded, seed_note, retired_at, aborted, dropped_at FROM versions
    WHERE view = ifnull(?, view) ORDER BY view, version
"""


class SqliteVersions(ControlFile):
    """The versions of all views."""

    def deploy(self, deployment: Deployment) -> Version:
        table = deployment.table
        document = msgspec.json.encode(deployment)
        with self._transaction() as connection:
            recorded = self.versions(table.view)
            if 1 <= table.version <= len(recorded):
                version = recorded[table.version - 1]
                # Both come from JSON: otherwise a list would differ from an equal tuple.
                wanted, known = msgspec.json.decode(document, type=Deployment), _deployment(version)
                if known == wanted:
                    return version
                if msgspec.structs.replace(known, expectations=wanted.expectations) == wanted:
                    connection.execute(
                        "UPDATE versions SET deployment = ? WHERE view = ? AND version = ?",
                        (document.decode(), table.view, table.version),
                    )
                    return self.versions(table.view)[table.version - 1]
            if table.version != len(recorded) + 1:
                reason = f"cannot be deployed: the next version is v{len(recorded) + 1}"
                raise VersionInUse(view=table.view, version=table.version, reason=reason)
            if not self._select("SELECT 1 FROM bundles WHERE id = ?", (deployment.bundle,)):
                raise BundleNotFound(bundle=deployment.bundle)
            connection.execute(
                "INSERT INTO versions (view, version, deployment, created_at, seeded) VALUES (?, ?, ?, ?, ?)",
                (
                    table.view,
                    table.version,
                    document.decode(),
                    datetime.now(UTC).isoformat(),
                    deployment.seed is None,
                ),
            )
            return self.versions(table.view)[-1]

    def versions(self, view: str | None = None) -> Sequence[Version]:
        return [_version(*columns) for columns in self._select(_SELECT, (view,))]

    def seeded(self, table: ViewTable, *, epochs: Mapping[int, int], note: str) -> None:
        assert epochs.keys() == set(range(table.group_count)), (epochs, table)
        with self._transaction() as connection:
            if self._recorded(table.view, table.version).seeded:
                return
            given = dict(
                self._select(
                    "SELECT worker_group, epoch FROM epochs WHERE view = ? AND version = ?", (table.view, table.version)
                )
            )
            for group, epoch in epochs.items():
                if (current := given.get(group, 0)) > epoch:
                    raise Fenced(table=table.name, group=group, epoch=epoch, current=current)
            connection.execute(
                "UPDATE versions SET seeded = 1, seed_note = ? WHERE view = ? AND version = ?",
                (note, table.view, table.version),
            )

    def retire(self, view: str, version: int, *, aborted: bool = False) -> None:
        with self._transaction() as connection:
            if self._recorded(view, version).retired_at is not None:
                return
            if read_release(connection).names(view, version):
                reason = "is primary, a canary, or what a rollback returns to: it cannot be retired"
                raise VersionInUse(view=view, version=version, reason=reason)
            connection.execute(
                "UPDATE versions SET retired_at = ?, aborted = ? WHERE view = ? AND version = ?",
                (datetime.now(UTC).isoformat(), aborted, view, version),
            )

    def dropped(self, view: str, version: int) -> None:
        with self._transaction() as connection:
            assert self._recorded(view, version).retired_at is not None, (view, version)
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

    def _recorded(self, view: str, version: int) -> Version:
        versions = self.versions(view)
        assert 1 <= version <= len(versions), f"{view} v{version} was never deployed"
        return versions[version - 1]


def _version(
    deployment: str,
    created_at: str,
    seeded: int,
    seed_note: str,
    retired_at: str | None,
    aborted: int,
    dropped_at: str | None,
) -> Version:
    parts = msgspec.json.decode(deployment, type=Deployment)
    return Version(
        **msgspec.structs.asdict(parts),
        created_at=datetime.fromisoformat(created_at),
        seeded=bool(seeded),
        seed_note=seed_note,
        retired_at=None if retired_at is None else datetime.fromisoformat(retired_at),
        aborted=bool(aborted),
        dropped_at=None if dropped_at is None else datetime.fromisoformat(dropped_at),
    )


def _deployment(version: Version) -> Deployment:
    return Deployment(*(getattr(version, name) for name in Deployment.__struct_fields__))
