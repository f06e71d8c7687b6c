"""Versions and epochs in the control store. What a version is made of is one JSON document, which never changes but for
what is expected of the version.

The columns beside it are what happens to the version later on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from kappa.adapters.postgres.control_part import ControlPart
from kappa.adapters.postgres.control_reading import read_release, read_versions
from kappa.adapters.postgres.database import Connection
from kappa.errors import BundleNotFound
from kappa.model.records import Position
from kappa.model.schema import ViewTable
from kappa.ports.rules import recorded_as, refuse_fenced_seed, refuse_retiring
from kappa.ports.versions import Deployment, Version

SCHEMA = """
    CREATE TABLE versions (
        view text COLLATE "C", version integer, bundle text NOT NULL, deployment bytea NOT NULL,
        created_at timestamptz NOT NULL, seeded boolean NOT NULL, seed_note text NOT NULL DEFAULT '',
        seed_position bytea NOT NULL DEFAULT '{}', retired_at timestamptz, aborted boolean NOT NULL DEFAULT false,
        dropped_at timestamptz,
        PRIMARY KEY (view, version)
    );
    CREATE TABLE epochs (
        view text, version integer, worker_group integer, epoch bigint NOT NULL,
        PRIMARY KEY (view, version, worker_group)
    );
"""

# A version is retired once.
RETIRE = "UPDATE versions SET retired_at = %s, aborted = %s WHERE view = %s AND version = %s AND retired_at IS NULL"


class PostgresVersions(ControlPart):
    """The versions of all views."""

    def deploy(self, deployment: Deployment) -> Version:
        table, document = deployment.table, msgspec.json.encode(deployment)
        with self._transaction() as connection:
            if known := recorded_as(deployment, read_versions(connection, table.view)):
                connection.execute(
                    "UPDATE versions SET deployment = %s WHERE view = %s AND version = %s",
                    (document, table.view, table.version),
                )
                return known
            if not connection.execute("SELECT 1 FROM bundles WHERE id = %s", (deployment.bundle,)).fetchall():
                raise BundleNotFound(bundle=deployment.bundle)
            connection.execute(
                "INSERT INTO versions (view, version, bundle, deployment, created_at, seeded)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (table.view, table.version, deployment.bundle, document, datetime.now(UTC), deployment.seed is None),
            )
            return read_versions(connection, table.view)[-1]

    def versions(self, view: str | None = None) -> Sequence[Version]:
        with self._reading() as connection:
            return read_versions(connection, view)

    def seeded(self, table: ViewTable, *, epochs: Mapping[int, int], position: Position, note: str) -> None:
        place = (table.view, table.version)
        with self._transaction() as connection:
            if _recorded(connection, *place).seeded:
                return
            given: dict[int, int] = dict(
                connection.execute(
                    "SELECT worker_group, epoch FROM epochs WHERE view = %s AND version = %s", place
                ).fetchall()
            )
            refuse_fenced_seed(table, epochs=epochs, given=given)
            connection.execute(
                "UPDATE versions SET seeded = true, seed_note = %s, seed_position = %s"
                " WHERE view = %s AND version = %s",
                (note, msgspec.json.encode(position), *place),
            )

    def retire(self, view: str, version: int, *, aborted: bool = False) -> None:
        with self._transaction() as connection:
            if _recorded(connection, view, version).retired_at is not None:
                return
            refuse_retiring(view, version, read_release(connection))
            connection.execute(RETIRE, (datetime.now(UTC), aborted, view, version))

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


def _recorded(connection: Connection, view: str, version: int) -> Version:
    versions = read_versions(connection, view)
    assert 1 <= version <= len(versions), f"{view} v{version} was never deployed"
    return versions[version - 1]
