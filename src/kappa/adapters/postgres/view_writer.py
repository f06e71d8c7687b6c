"""One worker's access to its partition group of one version, on a connection of its own.

It writes and never serves readers. Rows, dead letters, progress and the check of the epoch are one transaction. When
its connection is lost, so is the transaction, and the next call connects anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import msgspec

from kappa.adapters.postgres.database import Connection, Database, quoted
from kappa.adapters.postgres.progress import progress_of, read_progress
from kappa.adapters.postgres.stored_table import found_by_key, stored_table
from kappa.adapters.postgres.values import escaped
from kappa.errors import Fenced, StoreUnavailable
from kappa.model.partitioning import group_partitions
from kappa.model.records import Changes, Progress
from kappa.model.schema import ViewTable

# COPY takes a large commit in pieces, so that the driver need not hold all of it twice.
COPY_ROWS_MAX = 20_000


class PostgresViewWriter:
    """The writer of one group of one version."""

    def __init__(self, database: Database, table: ViewTable, group: int, *, epoch: int) -> None:
        self._database, self._table, self._group, self._epoch = database, table, group, epoch
        self._schema = quoted(database.names.views)
        self._stored = stored_table(table, database.names.views)
        self._partitions = group_partitions(group, group_count=table.group_count, partition_count=table.partition_count)
        self._connection: Connection | None = None
        try:
            with self._transaction() as connection:
                # Not before the commit of whoever writes now: that holds the row's lock.
                self._check_epoch(connection, "FOR UPDATE")
                connection.execute(
                    f"UPDATE {self._schema}.writers SET epoch = %s WHERE table_name = %s AND worker_group = %s",  # noqa: S608 - quoted
                    (epoch, table.name, group),
                )
        except BaseException:
            self.close()
            raise

    def _check_epoch(self, connection: Connection, lock: str) -> int:
        """Lock the group's epoch, and return it if it is not newer than this writer's."""
        found = connection.execute(
            f"SELECT epoch FROM {self._schema}.writers WHERE table_name = %s AND worker_group = %s {lock}",  # noqa: S608 - quoted
            (self._table.name, self._group),
        ).fetchone()
        if found is None:
            cause = f"there is no table of {self._table.name}"
            raise StoreUnavailable(store=self._database.name, cause=cause, next_step="run kappa up, which creates it")
        current: int = found[0]
        if current > self._epoch:
            raise self._fenced(current)
        return current

    def _fenced(self, current: int) -> Fenced:
        return Fenced(table=self._table.name, group=self._group, epoch=self._epoch, current=current)

    def progress(self) -> Mapping[int, Progress]:
        with self._transaction() as connection:
            found = read_progress(connection, self._schema, self._table)
        return progress_of(self._partitions, found)

    def has_rows(self) -> bool:
        with self._transaction() as connection:
            found = connection.execute(
                f"SELECT 1 FROM {self._stored.name} WHERE _state IS NOT NULL AND _partition = ANY(%s) LIMIT 1",  # noqa: S608 - quoted
                ([*self._partitions],),
            ).fetchone()
        return found is not None

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        known, parameters = self._stored.wanted(keys)
        if not known:
            return {}
        with self._transaction() as connection, connection.cursor(binary=True) as cursor:
            cursor.execute(self._stored.select_states, parameters)
            return {key: state for key, (state,) in found_by_key(known, cursor)}

    def commit(self, changes: Changes, progress: Mapping[int, Progress]) -> None:
        with self._transaction() as connection:
            # Shared, and held to the end: a newer writer cannot open between this and the commit. A lower epoch is
            # that of a table that was dropped and created anew, of which this writer has read nothing.
            if (current := self._check_epoch(connection, "FOR SHARE")) < self._epoch:
                raise self._fenced(current)
            self._write_rows(connection, changes)
            self._write_dead_letters(connection, changes)
            self._write_progress(connection, progress)

    def _write_rows(self, connection: Connection, changes: Changes) -> None:
        if not changes.rows:
            return
        with connection.cursor() as cursor:
            with cursor.copy(self._stored.copy) as copy:
                for start in range(0, len(changes.rows), COPY_ROWS_MAX):
                    copy.write(self._stored.rows_to_copy(changes.rows[start : start + COPY_ROWS_MAX]))
            cursor.execute(self._stored.upsert)

    def _write_dead_letters(self, connection: Connection, changes: Changes) -> None:
        if not changes.dead_letters:
            return
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self._schema}.dead_letters VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",  # noqa: S608 - quoted
                [
                    (
                        self._table.name,
                        each.partition,
                        each.offset,
                        each.key,
                        each.value,
                        escaped(each.reason),
                        each.event_time_us,
                    )
                    for each in changes.dead_letters
                ],
            )

    def _write_progress(self, connection: Connection, progress: Mapping[int, Progress]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self._schema}.progress VALUES (%s, %s, %s, %s, %s)"  # noqa: S608 - quoted
                " ON CONFLICT (table_name, partition) DO UPDATE SET next_offset = excluded.next_offset,"
                " watermark_us = excluded.watermark_us, origins = excluded.origins",
                [
                    (self._table.name, partition, its.next_offset, its.watermark_us, encode_origins(its))
                    for partition, its in progress.items()
                ],
            )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Give the connection, which is opened if there is none or it was lost, to one transaction."""
        with self._database.translated():
            if self._connection is None or self._connection.closed:
                self._connection = self._open()
            with self._connection.transaction():
                yield self._connection

    def _open(self) -> Connection:
        connection = self._database.connect()
        try:
            connection.execute(self._stored.create_incoming)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode_origins(progress: Progress) -> str:
    """Return the origins of a progress as the table keeps them."""
    return msgspec.json.encode(progress.origins).decode()
