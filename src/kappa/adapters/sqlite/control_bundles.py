"""Bundles in the control store: the code of versions, each under the hash of its content.

Who reads a bundle checks the hash: the store gives what the disk gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from kappa.adapters.sqlite.control_file import ControlFile
from kappa.errors import BundleNotFound
from kappa.ports.rules import bundle_id, refuse_used_bundle
from kappa.ports.versions import BundleEntry

# The sizes and times stand before the content: listing them reads no content.
SCHEMA = """
    CREATE TABLE bundles (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL, stored_at TEXT NOT NULL,
        content BLOB NOT NULL
    );
"""

_SELECT_ENTRIES = "SELECT id, size_bytes, stored_at FROM bundles"


class SqliteBundles(ControlFile):
    """The code of versions."""

    def store_bundle(self, content: bytes) -> BundleEntry:
        stored_as = bundle_id(content)
        with self._transaction() as connection:
            connection.execute(
                # One that the disk has damaged is mended by whoever stores it again.
                "INSERT INTO bundles (id, size_bytes, stored_at, content) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET content = excluded.content WHERE content <> excluded.content",
                (stored_as, len(content), datetime.now(UTC).isoformat(), content),
            )
            return self._records(BundleEntry, f"{_SELECT_ENTRIES} WHERE id = ?", (stored_as,))[0]

    def bundle(self, bundle_id: str) -> bytes:
        found = self._select("SELECT content FROM bundles WHERE id = ?", (bundle_id,))
        if not found:
            raise BundleNotFound(bundle=bundle_id)
        content: bytes = found[0][0]
        return content

    def bundles(self) -> Sequence[BundleEntry]:
        return self._records(BundleEntry, f"{_SELECT_ENTRIES} ORDER BY number")

    def delete_bundle(self, bundle_id: str) -> None:
        with self._transaction() as connection:
            users = self._select(
                "SELECT view, version FROM versions WHERE deployment ->> '$.bundle' = ? AND dropped_at IS NULL LIMIT 1",
                (bundle_id,),
            )
            refuse_used_bundle(bundle_id, users)
            connection.execute("DELETE FROM bundles WHERE id = ?", (bundle_id,))
