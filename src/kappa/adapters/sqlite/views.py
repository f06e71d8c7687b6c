"""The view store on SQLite: one file per version and partition group, `user_profile__v1.g0.db`.

A partition belongs to one group, and its rows and progress commit together, so no transaction ever spans two files.
Readers have their own connections and see what is committed; a version without files has no rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any, TypeVar

from kappa.adapters.sqlite.connection import connect, create, delete, size_bytes, sqlite_errors
from kappa.adapters.sqlite.stored_table import FORMAT, SELECT_PROGRESS, progress_of, stored_table
from kappa.adapters.sqlite.view_query import answer
from kappa.adapters.sqlite.view_writer import SqliteViewWriter
from kappa.model.partitioning import partition_of
from kappa.model.records import Progress
from kappa.model.schema import ViewTable
from kappa.ports.views import DeadLetterEntry, QueryResult, Snapshot, StoredRow

T = TypeVar("T")

_DEAD_LETTERS = """
    SELECT partition, offset, key, value, reason, event_time_us FROM dead_letters
    WHERE partition = ifnull(:partition, partition) AND offset = ifnull(:offset, offset)
    ORDER BY partition, offset LIMIT :limit
"""

# The index of tombstones makes this two counts over indexes, and not a walk through all rows.
_ROW_COUNT = "SELECT (SELECT count(*) FROM rows) - (SELECT count(*) FROM rows WHERE _state IS NULL)"


class SqliteViews:
    """The versions in one folder. Not for use by two threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[Path, tuple[int, sqlite3.Connection]] = {}  # and the file's inode

    def create(self, table: ViewTable) -> None:
        for file in self._files(table):
            create(file, stored_table(table).schema, schema_format=FORMAT)

    def drop(self, table: ViewTable) -> None:
        for file in self._files(table):
            if (opened := self._readers.pop(file, None)) is not None:
                opened[1].close()
            delete(file)

    def writer(self, table: ViewTable, group: int, *, epoch: int) -> SqliteViewWriter:
        return SqliteViewWriter(self._file(table, group), table, group, epoch=epoch)

    def progress(self, table: ViewTable) -> Mapping[int, Progress]:
        return progress_of(table, None, self._read(table, SELECT_PROGRESS))

    def get(self, table: ViewTable, key: bytes) -> StoredRow | None:
        stored = stored_table(table)
        file = self._file(table, table.group_of(partition_of(key, table.partition_count)))
        if (values := stored.key_values(key)) is None:
            return None
        with sqlite_errors(file):
            if (reader := self._reader(file)) is None:
                return None
            found = reader.execute(stored.select_row, values).fetchone()
        return None if found is None else stored.row(found)

    def get_many(self, table: ViewTable, keys: Sequence[bytes]) -> Mapping[bytes, StoredRow]:
        stored = stored_table(table)
        by_group: dict[int, list[bytes]] = {}
        for key in keys:
            by_group.setdefault(table.group_of(partition_of(key, table.partition_count)), []).append(key)
        found: dict[bytes, StoredRow] = {}
        for group, its_keys in by_group.items():
            if (wanted := stored.wanted(its_keys)) is None:
                found |= {key: row for key in its_keys if (row := self.get(table, key)) is not None}
                continue
            file = self._file(table, group)
            with sqlite_errors(file):
                if (reader := self._reader(file)) is not None:
                    rows = reader.execute(stored.select_wanted, (wanted,))
                    found |= {its_keys[columns[0]]: stored.row(columns[1:]) for columns in rows}
        return found

    @contextmanager
    def snapshot(self, table: ViewTable, group: int) -> Iterator[Snapshot]:
        file = self._file(table, group)
        if not file.exists():
            yield Snapshot(progress_of(table, group, ()), iter(()), iter(()))
            return
        stored = stored_table(table)
        with closing(connect(file, read_only=True, schema_format=FORMAT)) as connection:
            with sqlite_errors(file):
                connection.execute("BEGIN")
                # The first statement to read fixes the moment for all that follow.
                committed = connection.execute(SELECT_PROGRESS).fetchall()
                rows = connection.execute(stored.select_rows)
                letters = connection.execute(_DEAD_LETTERS, {"partition": None, "offset": None, "limit": -1})
            yield Snapshot(
                progress_of(table, group, committed),
                _translated(file, map(stored.row, rows)),
                _translated(file, starmap(DeadLetterEntry, letters)),
            )

    def scan(self, table: ViewTable) -> Iterator[StoredRow]:
        stored = stored_table(table)
        for file in self._existing_files(table):
            # A connection of its own: while a statement runs, its connection sees the state that it began with.
            with sqlite_errors(file), closing(connect(file, read_only=True, schema_format=FORMAT)) as connection:
                yield from map(stored.row, connection.execute(stored.select_rows))

    def row_count(self, table: ViewTable) -> int:
        return sum(count for (count,) in self._read(table, _ROW_COUNT))

    def size_bytes(self, table: ViewTable) -> int:
        return sum(size_bytes(file) for file in self._files(table))

    def dead_letters(
        self, table: ViewTable, *, limit: int, partition: int | None = None, offset: int | None = None
    ) -> Sequence[DeadLetterEntry]:
        found = self._read(table, _DEAD_LETTERS, {"partition": partition, "offset": offset, "limit": limit})
        return [DeadLetterEntry(*each) for each in sorted(found, key=lambda each: each[:2])[:limit]]

    def dead_letter_count(self, table: ViewTable) -> int:
        return sum(count for (count,) in self._read(table, "SELECT count(*) FROM dead_letters"))

    def query(self, sql: str, *, views: Mapping[str, ViewTable], rows_max: int, timeout_s: float) -> QueryResult:
        return answer(
            sql,
            views={name: (table, self._existing_files(table)) for name, table in views.items()},
            folder=self._folder,
            rows_max=rows_max,
            timeout_s=timeout_s,
        )

    def close(self) -> None:
        for _, reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _file(self, table: ViewTable, group: int) -> Path:
        assert 0 <= group < table.group_count, (group, table)
        return self._folder / f"{table.name}.g{group}.db"

    def _files(self, table: ViewTable) -> list[Path]:
        return [self._file(table, group) for group in range(table.group_count)]

    def _existing_files(self, table: ViewTable) -> list[Path]:
        return [file for file in self._files(table) if file.exists()]

    def _reader(self, file: Path) -> sqlite3.Connection | None:
        """Return the connection that reads a file, or None while there is no such file."""
        try:
            inode = file.stat().st_ino
        except FileNotFoundError:
            inode = None
        if (opened := self._readers.get(file)) is not None:
            if opened[0] == inode:
                return opened[1]
            # Another process has dropped the table, and perhaps created it anew: what this one reads is gone.
            opened[1].close()
            del self._readers[file]
        if inode is None:
            return None
        reader = connect(file, read_only=True, schema_format=FORMAT)
        self._readers[file] = (inode, reader)
        return reader

    def _read(self, table: ViewTable, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return what a statement finds in all groups of a version."""
        found: list[tuple[Any, ...]] = []
        for file in self._files(table):
            with sqlite_errors(file):
                if (reader := self._reader(file)) is not None:
                    found += reader.execute(sql, parameters or {})
        return found


def _translated(file: Path, found: Iterator[T]) -> Iterator[T]:
    """Yield what is found; translate errors of the file, but none of whoever reads."""
    with sqlite_errors(file):
        yield from found
