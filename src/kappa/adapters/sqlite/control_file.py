"""What the parts of the control store share: one open file.

A part is a class with the tables of one port and its methods, each of them one transaction; `control.SqliteControl`
puts the parts together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kappa.adapters.sqlite.connection import sqlite_errors, transaction
from kappa.adapters.sqlite.control_reading import rows_by_name
from kappa.ports.stored import Record, record


class ControlFile:
    """One connection to the control store's file. Not for use by two threads."""

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self._file = file
        self._connection = connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one write transaction, on disk when the block ends."""
        with sqlite_errors(self._file), transaction(self._connection):
            yield self._connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one statement, which sees one moment and waits for no writer."""
        with sqlite_errors(self._file):
            yield self._connection

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what one statement finds."""
        with self._reading() as connection:
            return connection.execute(sql, parameters).fetchall()

    def _records(self, kind: type[Record], sql: str, parameters: Sequence[Any] = ()) -> list[Record]:
        """Return the records that one statement finds, whose columns are called as the record's fields."""
        with self._reading() as connection:
            return [record(kind, columns) for columns in rows_by_name(connection, sql, parameters)]
