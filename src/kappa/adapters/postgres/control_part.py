"""What the parts of the control store share: one database. It knows no table.

A part is a class with the tables of one port and its methods, each of them one transaction; `control.PostgresControl`
puts the parts together. Transactions that write take turns, so that what one has checked still holds when it writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kappa.adapters.postgres.database import Connection, Database, lock, quoted

Rows = list[tuple[Any, ...]]


class ControlPart:
    """The control store's tables in one database. Not for use by two threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._path = f"SET LOCAL search_path = {quoted(database.names.control)}, pg_catalog"

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Give a connection to the one transaction that writes now, on disk when the block ends."""
        with self._database.transaction() as connection:
            connection.execute(self._path)
            lock(connection, self._database.names.control)
            yield connection

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """Return what one statement finds: all of one moment, without waiting for a writer."""
        with self._database.transaction() as connection:
            connection.execute(self._path)
            return connection.execute(sql, parameters).fetchall()
