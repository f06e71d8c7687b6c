"""Bundles in the control store: the code of versions, each under the hash of its content.

Who reads a bundle checks the hash: the store gives what the disk gave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from kappa.adapters.sqlite.control_file import ControlFile
from kappa.errors import BundleNotFound, VersionInUse
from kappa.ports.versions import BUNDLE_BYTES_MAX, BundleEntry

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
        assert len(content) <= BUNDLE_BYTES_MAX, len(content)
        bundle_id = hashlib.sha256(content).hexdigest()
        with self._transaction() as connection:
            connection.execute(
                # One that the disk has damaged is mended by whoever stores it again.
                "INSERT INTO bundles (id, size_bytes, stored_at, content) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET content = excluded.content WHERE content <> excluded.content",
                (bundle_id, len(content), datetime.now(UTC).isoformat(), content),
            )
            return _entry(*self._select(f"{_SELECT_ENTRIES} WHERE id = ?", (bundle_id,))[0])

    def bundle(self, bundle_id: str) -> bytes:
        found = self._select("SELECT content FROM bundles WHERE id = ?", (bundle_id,))
        if not found:
            raise BundleNotFound(bundle=bundle_id)
        content: bytes = found[0][0]
        return content

    def bundles(self) -> Sequence[BundleEntry]:
        return [_entry(*columns) for columns in self._select(f"{_SELECT_ENTRIES} ORDER BY number")]

    def delete_bundle(self, bundle_id: str) -> None:
        with self._transaction() as connection:
            users = self._select(
                "SELECT view, version FROM versions WHERE deployment ->> '$.bundle' = ? AND dropped_at IS NULL LIMIT 1",
                (bundle_id,),
            )
            for view, version in users:
                reason = f"runs from bundle {bundle_id[:12]}, which cannot be deleted before the version is dropped"
                raise VersionInUse(view=view, version=version, reason=reason)
            connection.execute("DELETE FROM bundles WHERE id = ?", (bundle_id,))


def _entry(bundle_id: str, size_bytes: int, stored_at: str) -> BundleEntry:
    return BundleEntry(bundle_id, size_bytes, datetime.fromisoformat(stored_at))
