"""Rejected input in the control store: what could not be ingested, by source and place."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kappa.adapters.postgres.control_part import ControlPart
from kappa.adapters.postgres.values import escaped, unescaped
from kappa.ports.control import RejectedInput

SCHEMA = """
    CREATE TABLE rejected (
        source text COLLATE "C", place bigint, line bigint NOT NULL, value bytea NOT NULL, size_bytes bigint NOT NULL,
        reason text NOT NULL, PRIMARY KEY (source, place)
    );
"""


class PostgresRejected(ControlPart):
    """What could not be ingested."""

    def reject(self, inputs: Sequence[RejectedInput]) -> None:
        with self._transaction() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO rejected VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (source, place) DO UPDATE SET"
                " line = excluded.line, value = excluded.value, size_bytes = excluded.size_bytes,"
                " reason = excluded.reason",
                [
                    (each.source, each.place, each.line, each.value, each.size_bytes, escaped(each.reason))
                    for each in inputs
                ],
            )

    def rejected(
        self, *, limit: int, source: str | None = None, after: tuple[str, int] | None = None
    ) -> Sequence[RejectedInput]:
        found = self._records(
            RejectedInput,
            "SELECT source, place, line, value, size_bytes, reason FROM rejected"
            " WHERE (source, place) > (%s, %s) AND source = coalesce(%s, source) ORDER BY source, place LIMIT %s",
            (*(after or ("", -1)), source, limit),
        )
        return [msgspec.structs.replace(each, reason=unescaped(each.reason)) for each in found]

    def rejected_count(self) -> int:
        count: int = self._select("SELECT count(*) FROM rejected")[0][0]
        return count

    def accept(self, source: str, place: int) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM rejected WHERE source = %s AND place = %s", (source, place))
