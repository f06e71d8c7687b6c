"""Versions and epochs in the control store. What a version is made of is one JSON document, which never changes.

The columns beside it are what happens to the version later on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from kappa.adapters.postgres.control_part import ControlPart
from kappa.adapters.postgres.control_release import read_release
from kappa.adapters.postgres.database import Connection
from kappa.errors import BundleNotFound, Fenced, VersionInUse
from kappa.model.schema import ViewTable
from kappa.ports.versions import Deployment, Version

SCHEMA = """
    CREATE TABLE versions (
        view text COLLATE "C", version integer, bundle text NOT NULL, deployment bytea NOT NULL,
        created_at timestamptz NOT NULL, seeded boolean NOT NULL, seed_note text NOT NULL DEFAULT '',
        retired_at timestamptz, aborted boolean NOT NULL DEFAULT false, dropped_at timestamptz,
        PRIMARY KEY (view, version)
    );
    CREATE TABLE epochs (
        view text, version integer, worker_group integer, epoch bigint NOT NULL,
        PRIMARY KEY (view, version, worker_group)
    );
"""

_SELECT = """
    SELECT deployment, created_at, seeded, seed_note, retired_at, aborted, dropped_at FROM versions
    WHERE view = coalesce(%s, view) ORDER BY view, version
"""


class PostgresVersions(ControlPart):
    """The versions of all views."""

    def deploy(self, deployment: Deployment) -> Version:
        table = deployment.table
        document = msgspec.json.encode(deployment)
        with self._transaction() as connection:
            recorded = read_versions(connection, table.view)
            if 1 <= table.version <= len(recorded):
                version = recorded[table.version - 1]
                # Both come from JSON: otherwise a list would differ from an equal tuple.
                wanted, known = msgspec.json.decode(document, type=Deployment), _deployment(version)
                if known == wanted:
                    return version
                if msgspec.structs.replace(known, expectations=wanted.expectations) == wanted:
                    connection.execute(
                        "UPDATE versions SET deployment = %s WHERE view = %s AND version = %s",
                        (document, table.view, table.version),
                    )
                    return read_versions(connection, table.view)[table.version - 1]
            if table.version != len(recorded) + 1:
                reason = f"cannot be deployed: the next version is v{len(recorded) + 1}"
                raise VersionInUse(view=table.view, version=table.version, reason=reason)
            if not connection.execute("SELECT 1 FROM bundles WHERE id = %s", (deployment.bundle,)).fetchall():
                raise BundleNotFound(bundle=deployment.bundle)
            connection.execute(
                "INSERT INTO versions (view, version, bundle, deployment, created_at, seeded)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (
                    table.view,
                    table.version,
                    deployment.bundle,
                    document,
                    datetime.now(UTC),
                    deployment.seed is None,
                ),
            )
            return read_versions(connection, table.view)[-1]

    def versions(self, view: str | None = None) -> Sequence[Version]:
        return [_version(*columns) for columns in self._select(_SELECT, (view,))]

    def seeded(self, table: ViewTable, *, epochs: Mapping[int, int], note: str) -> None:
        assert epochs.keys() == set(range(table.group_count)), (epochs, table)
        place = (table.view, table.version)
        with self._transaction() as connection:
            if _recorded(connection, *place).seeded:
                return
            given: dict[int, int] = dict(
                connection.execute(
                    "SELECT worker_group, epoch FROM epochs WHERE view = %s AND version = %s", place
                ).fetchall()
            )
            for group, epoch in epochs.items():
                if (current := given.get(group, 0)) > epoch:
                    raise Fenced(table=table.name, group=group, epoch=epoch, current=current)
            connection.execute(
                "UPDATE versions SET seeded = true, seed_note = %s WHERE view = %s AND version = %s", (note, *place)
            )

    def retire(self, view: str, version: int, *, aborted: bool = False) -> None:
        with self._transaction() as connection:
            if _recorded(connection, view, version).retired_at is not None:
                return
            if read_release(connection).names(view, version):
                reason = "is primary, a canary, or what a rollback returns to: it cannot be retired"
                raise VersionInUse(view=view, version=version, reason=reason)
            connection.execute(
                "UPDATE versions SET retired_at = %s, aborted = %s WHERE view = %s AND version = %s",
                (datetime.now(UTC), aborted, view, version),
            )

    def dropped(self, view: str, version: int) -> None:
        with self._transaction() as connection:
            assert _recorded(connection, view, version).retired_at is not None, (view, version)
            connection.execute(
                "UPDATE versions SET dropped_at = coalesce(dropped_at, %s) WHERE view = %s AND version = %s",
                (datetime.now(UTC), view, version),
            )

    def next_epoch(self, table: ViewTable, group: int) -> int:
        with self._transaction() as connection:
            found = connection.execute(
                "INSERT INTO epochs AS given VALUES (%s, %s, %s, 1) ON CONFLICT (view, version, worker_group)"
                " DO UPDATE SET epoch = given.epoch + 1 RETURNING epoch",
                (table.view, table.version, group),
            ).fetchone()
        assert found is not None, table
        epoch: int = found[0]
        return epoch


def read_versions(connection: Connection, view: str | None = None) -> list[Version]:
    """Return versions by view and number, of one view if given."""
    return [_version(*columns) for columns in connection.execute(_SELECT, (view,))]


def _recorded(connection: Connection, view: str, version: int) -> Version:
    versions = read_versions(connection, view)
    assert 1 <= version <= len(versions), f"{view} v{version} was never deployed"
    return versions[version - 1]


def _version(
    deployment: bytes,
    created_at: datetime,
    seeded: bool,
    seed_note: str,
    retired_at: datetime | None,
    aborted: bool,
    dropped_at: datetime | None,
) -> Version:
    parts = msgspec.json.decode(deployment, type=Deployment)
    return Version(
        **msgspec.structs.asdict(parts),
        created_at=created_at,
        seeded=seeded,
        seed_note=seed_note,
        retired_at=retired_at,
        aborted=aborted,
        dropped_at=dropped_at,
    )


def _deployment(version: Version) -> Deployment:
    return Deployment(*(getattr(version, name) for name in Deployment.__struct_fields__))
