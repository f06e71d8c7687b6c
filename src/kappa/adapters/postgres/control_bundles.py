"""Bundles in the control store: the code of versions, each under the hash of its content.

Who reads a bundle checks the hash: the store gives what the disk gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from kappa.adapters.postgres.control_part import ControlPart
from kappa.errors import BundleNotFound
from kappa.ports.rules import bundle_id, refuse_used_bundle
from kappa.ports.versions import BundleEntry

SCHEMA = """
    CREATE TABLE bundles (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, size_bytes bigint NOT NULL,
        stored_at timestamptz NOT NULL, content bytea NOT NULL
    );
"""

_SELECT_ENTRIES = "SELECT id, size_bytes, stored_at FROM bundles"


class PostgresBundles(ControlPart):
    """The code of versions."""

    def store_bundle(self, content: bytes) -> BundleEntry:
        stored_as = bundle_id(content)
        with self._transaction() as connection:
            connection.execute(
                # One that the disk has damaged is mended by whoever stores it again.
                "INSERT INTO bundles (id, size_bytes, stored_at, content) VALUES (%s, %s, %s, %b)"
                " ON CONFLICT (id) DO UPDATE SET content = excluded.content WHERE bundles.content <> excluded.content",
                (stored_as, len(content), datetime.now(UTC), content),
            )
            return BundleEntry(*connection.execute(f"{_SELECT_ENTRIES} WHERE id = %s", (stored_as,)).fetchall()[0])

    def bundle(self, bundle_id: str) -> bytes:
        found = self._select("SELECT content FROM bundles WHERE id = %s", (bundle_id,))
        if not found:
            raise BundleNotFound(bundle=bundle_id)
        content: bytes = found[0][0]
        return content

    def bundles(self) -> Sequence[BundleEntry]:
        return self._records(BundleEntry, f"{_SELECT_ENTRIES} ORDER BY number")

    def delete_bundle(self, bundle_id: str) -> None:
        with self._transaction() as connection:
            users = connection.execute(
                "SELECT view, version FROM versions WHERE bundle = %s AND dropped_at IS NULL LIMIT 1", (bundle_id,)
            )
            refuse_used_bundle(bundle_id, users.fetchall())
            connection.execute("DELETE FROM bundles WHERE id = %s", (bundle_id,))
