"""What the parts of the control store share: one database.

A part is a class with the tables of one port and its methods, each of them one transaction; `control.PostgresControl`
puts the parts together. Transactions that write take turns, so that what one has checked still holds when it writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kappa.adapters.postgres.control_reading import rows_by_name
from kappa.adapters.postgres.database import Connection, Database, lock, quoted
from kappa.ports.stored import Record, record

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

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Give a connection to one statement, which sees one moment and waits for no writer."""
        with self._database.transaction() as connection:
            connection.execute(self._path)
            yield connection

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """Return what one statement finds."""
        with self._reading() as connection:
            return connection.execute(sql, parameters).fetchall()

    def _records(self, kind: type[Record], sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        """Return the records that one statement finds, whose columns are called as the record's fields."""
        with self._reading() as connection:
            return [record(kind, columns) for columns in rows_by_name(connection, sql, parameters)]
