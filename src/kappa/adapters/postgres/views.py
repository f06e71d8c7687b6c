"""The view store on PostgreSQL: a table per version, `user_profile__v1`, and beside them what all have in common.

Readers see committed transactions only, and wait for no writer. A version without a table has no rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any, TypeVar

from psycopg import IsolationLevel, errors

from kappa.adapters.postgres.database import Connection, Database, lock, quoted
from kappa.adapters.postgres.progress import progress_of, read_progress
from kappa.adapters.postgres.stored_table import SCHEMA, found_by_key, stored_table
from kappa.adapters.postgres.values import unescaped
from kappa.adapters.postgres.view_query import answer
from kappa.adapters.postgres.view_writer import PostgresViewWriter
from kappa.model.partitioning import group_partitions
from kappa.model.records import Progress
from kappa.model.schema import ViewTable
from kappa.ports.views import DeadLetterEntry, QueryResult, Snapshot, StoredRow

T = TypeVar("T")

# A server-side cursor gives rows in such portions: a few MB.
PORTION_ROWS = 5_000

_DEAD_LETTERS = """
    SELECT partition, "offset", key, value, reason, event_time_us FROM {schema}.dead_letters
    WHERE table_name = %s AND partition = ANY(%s) AND (%s::bigint IS NULL OR "offset" = %s)
    ORDER BY partition, "offset" LIMIT %s
"""


class PostgresViews:
    """The versions in one database. Not for use by two threads."""

    def __init__(self, database: Database, *, readers: Database | None = None) -> None:
        """Create what versions have in common, unless it is there.

        Args:
            database: Where the tables are; closed with this.
            readers: The same database, as people's queries see it, perhaps by a role that can only read.
        """
        self._database = database
        self._readers = readers or database
        self._schema = quoted(database.names.views)
        with database.closed_on_failure():
            database.create(database.names.views, SCHEMA)

    def create(self, table: ViewTable) -> None:
        with self._database.transaction() as connection:
            lock(connection, self._database.names.views)
            create_table(connection, table, self._database.names.views)

    def drop(self, table: ViewTable) -> None:
        with self._database.transaction() as connection:
            lock(connection, self._database.names.views)
            # In the order in which a commit takes its locks.
            connection.execute(f"DELETE FROM {self._schema}.writers WHERE table_name = %s", (table.name,))  # noqa: S608 - quoted
            connection.execute(f"DROP TABLE IF EXISTS {stored_table(table, self._database.names.views).name}")
            for kept in ("progress", "dead_letters"):
                connection.execute(f"DELETE FROM {self._schema}.{kept} WHERE table_name = %s", (table.name,))  # noqa: S608 - quoted

    def writer(self, table: ViewTable, group: int, *, epoch: int) -> PostgresViewWriter:
        return PostgresViewWriter(self._database, table, group, epoch=epoch)

    def progress(self, table: ViewTable) -> Mapping[int, Progress]:
        with self._database.reading() as connection:
            return progress_of(range(table.partition_count), read_progress(connection, self._schema, table))

    def get(self, table: ViewTable, key: bytes) -> StoredRow | None:
        return self.get_many(table, [key]).get(key)

    def get_many(self, table: ViewTable, keys: Sequence[bytes]) -> Mapping[bytes, StoredRow]:
        stored = stored_table(table, self._database.names.views)
        known, parameters = stored.wanted(keys)
        if not known:
            return {}

        def read(connection: Connection) -> Mapping[bytes, StoredRow]:
            with connection.cursor(binary=True) as cursor:
                cursor.execute(stored.select_wanted, parameters)
                return {key: stored.row(columns) for key, columns in found_by_key(known, cursor)}

        return self._read(read, absent={})

    @contextmanager
    def snapshot(self, table: ViewTable, group: int) -> Iterator[Snapshot]:
        stored = stored_table(table, self._database.names.views)
        partitions = _partitions(table, group)
        with self._database.lent() as connection, _one_moment(self._database, connection):
            with self._database.translated():
                committed = read_progress(connection, self._schema, table)
                absent = not _exists(connection, stored.name)
            yield Snapshot(
                progress_of(partitions, committed),
                iter(())
                if absent
                else self._portions(
                    connection, "rows", f"{stored.select_rows} AND _partition = ANY(%s)", ([*partitions],), stored.row
                ),
                self._portions(
                    connection,
                    "letters",
                    _DEAD_LETTERS.format(schema=self._schema),
                    (table.name, [*partitions], None, None, None),
                    _dead_letter,
                ),
            )

    def scan(self, table: ViewTable) -> Iterator[StoredRow]:
        stored = stored_table(table, self._database.names.views)
        with self._database.lent() as connection, _one_moment(self._database, connection):
            with self._database.translated():
                absent = not _exists(connection, stored.name)
            if not absent:
                yield from self._portions(connection, "rows", stored.select_rows, (), stored.row)

    def _portions(
        self,
        connection: Connection,
        name: str,
        sql: str,
        parameters: Sequence[Any],
        made_of: Callable[[tuple[Any, ...]], T],
    ) -> Iterator[T]:
        """Yield what a statement finds, read portion by portion; translate errors of the store, none of the reader."""
        with self._database.translated(), connection.cursor(name, binary=True) as cursor:
            cursor.itersize = PORTION_ROWS
            cursor.execute(sql, parameters or None)
            found = iter(lambda: cursor.fetchmany(PORTION_ROWS), [])
            yield from map(made_of, chain.from_iterable(found))

    def row_count(self, table: ViewTable) -> int:
        stored = stored_table(table, self._database.names.views)
        return self._read(
            lambda connection: _number(
                connection,
                f"SELECT count(*) FROM {stored.name} WHERE _state IS NOT NULL",  # noqa: S608 - quoted
            ),
            absent=0,
        )

    def size_bytes(self, table: ViewTable) -> int:
        name = stored_table(table, self._database.names.views).name
        with self._database.reading() as connection:
            return _number(connection, "SELECT coalesce(pg_total_relation_size(to_regclass(%s)), 0)", name)

    def dead_letters(
        self, table: ViewTable, *, limit: int, partition: int | None = None, offset: int | None = None
    ) -> Sequence[DeadLetterEntry]:
        partitions = [*range(table.partition_count)] if partition is None else [partition]
        with self._database.reading() as connection, connection.cursor(binary=True) as cursor:
            sql = _DEAD_LETTERS.format(schema=self._schema)
            cursor.execute(sql, (table.name, partitions, offset, offset, limit))
            return [*map(_dead_letter, cursor)]

    def dead_letter_count(self, table: ViewTable) -> int:
        with self._database.reading() as connection:
            sql = f"SELECT count(*) FROM {self._schema}.dead_letters WHERE table_name = %s"  # noqa: S608 - quoted
            return _number(connection, sql, table.name)

    def query(self, sql: str, *, views: Mapping[str, ViewTable], rows_max: int, timeout_s: float) -> QueryResult:
        return answer(sql, views=views, database=self._readers, rows_max=rows_max, timeout_s=timeout_s)

    def close(self) -> None:
        self._database.close()

    def _read(self, read: Callable[[Connection], T], *, absent: T) -> T:
        """Return what is read from a version's table, or `absent` if there is none."""
        with self._database.reading() as connection:
            try:
                return read(connection)
            except errors.UndefinedTable:
                return absent


def create_table(connection: Connection, table: ViewTable, schema: str) -> None:
    """Create a version's table and its writers' epochs, unless they are there. The caller holds the schema's lock."""
    connection.execute(stored_table(table, schema).create)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {quoted(schema)}.writers VALUES (%s, %s, 0) ON CONFLICT DO NOTHING",  # noqa: S608 - quoted
            [(table.name, group) for group in range(table.group_count)],
        )


@contextmanager
def _one_moment(database: Database, connection: Connection) -> Iterator[None]:
    """Let a block read what is committed now, whatever is committed meanwhile."""
    with ExitStack() as opened:
        opened.callback(_as_before, connection)
        with database.translated():
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            opened.enter_context(connection.transaction())
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # the reader sets the pace
        yield


def _as_before(connection: Connection) -> None:
    if not connection.closed:
        connection.isolation_level = connection.read_only = None


def _partitions(table: ViewTable, group: int) -> Sequence[int]:
    return group_partitions(group, group_count=table.group_count, partition_count=table.partition_count)


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone() == (True,)


def _number(connection: Connection, sql: str, *parameters: Any) -> int:
    found = connection.execute(sql, parameters or None).fetchone()
    assert found is not None, sql
    number: int = found[0]
    return number


def _dead_letter(columns: tuple[Any, ...]) -> DeadLetterEntry:
    partition, offset, key, value, reason, event_time_us = columns
    return DeadLetterEntry(partition, offset, key, value, unescaped(reason), event_time_us)
