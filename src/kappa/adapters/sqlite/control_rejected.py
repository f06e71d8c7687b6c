"""Rejected input in the control store: what could not be ingested, by source and place."""

from __future__ import annotations

from collections.abc import Sequence

from kappa.adapters.sqlite.control_file import ControlFile
from kappa.ports.control import RejectedInput

SCHEMA = """
    CREATE TABLE rejected (
        source TEXT, place INTEGER, line INTEGER NOT NULL, value BLOB NOT NULL, size_bytes INTEGER NOT NULL,
        reason TEXT NOT NULL, PRIMARY KEY (source, place)
    );
"""


class SqliteRejected(ControlFile):
    """What could not be ingested."""

    def reject(self, inputs: Sequence[RejectedInput]) -> None:
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO rejected VALUES (?, ?, ?, ?, ?, ?)",
                [(each.source, each.place, each.line, each.value, each.size_bytes, each.reason) for each in inputs],
            )

    def rejected(
        self, *, limit: int, source: str | None = None, after: tuple[str, int] | None = None
    ) -> Sequence[RejectedInput]:
        return self._records(
            RejectedInput,
            "SELECT source, place, line, value, size_bytes, reason FROM rejected"
            " WHERE (source, place) > (?, ?) AND source = ifnull(?, source) ORDER BY source, place LIMIT ?",
            (*(after or ("", -1)), source, limit),
        )

    def rejected_count(self) -> int:
        count: int = self._select("SELECT count(*) FROM rejected")[0][0]
        return count

    def accept(self, source: str, place: int) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM rejected WHERE source = ? AND place = ?", (source, place))
