"""One worker's access to its partition group: a file of its own, so that two workers never wait for each other.

It writes and never serves readers. Rows, dead letters, progress and the check of the epoch are one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from kappa.adapters.sqlite.connection import connect, sqlite_errors, transaction
from kappa.adapters.sqlite.stored_table import FORMAT, SELECT_PROGRESS, progress_of, stored_table
from kappa.errors import Fenced
from kappa.model.records import Changes, Progress
from kappa.model.schema import ViewTable

# 64 MB. Commit after commit changes the same pages: copying them back into the file once in a while instead of each
# time is a tenth of a commit.
CHECKPOINT_PAGES = 16_000


class SqliteViewWriter:
    """The writer of one group of one version. Its file exists."""

    def __init__(self, file: Path, table: ViewTable, group: int, *, epoch: int) -> None:
        self._file = file
        self._table = table
        self._stored = stored_table(table)
        self._group = group
        self._epoch = epoch
        self._connection = connect(file, schema_format=FORMAT)
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        try:
            with sqlite_errors(file), transaction(self._connection):
                self._check_epoch()
                self._connection.execute("UPDATE writer SET epoch = ?", (epoch,))
        except BaseException:
            self.close()
            raise

    def _check_epoch(self) -> None:
        current: int = self._connection.execute("SELECT epoch FROM writer").fetchone()[0]
        if current > self._epoch:
            raise Fenced(table=self._table.name, group=self._group, epoch=self._epoch, current=current)

    def progress(self) -> Mapping[int, Progress]:
        with sqlite_errors(self._file):
            committed = self._connection.execute(SELECT_PROGRESS).fetchall()
        return progress_of(self._table, self._group, committed)

    def has_rows(self) -> bool:
        with sqlite_errors(self._file):
            found = self._connection.execute("SELECT 1 FROM rows WHERE _state IS NOT NULL LIMIT 1").fetchone()
        return found is not None

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        with sqlite_errors(self._file):
            if (wanted := self._stored.wanted(keys)) is not None:
                found = self._connection.execute(self._stored.select_states, (wanted,))
                return {keys[place]: state for place, state in found}
            return {key: state for key in keys if (state := self._state(key)) is not None}

    def _state(self, key: bytes) -> bytes | None:
        if (values := self._stored.key_values(key)) is None:
            return None
        found = self._connection.execute(self._stored.select_row, values).fetchone()
        return None if found is None else self._stored.row(found).state

    def commit(self, changes: Changes, progress: Mapping[int, Progress]) -> None:
        execute_many = self._connection.executemany
        with sqlite_errors(self._file), transaction(self._connection):
            self._check_epoch()
            if changes.rows:
                execute_many(self._stored.upsert, self._stored.parameters(changes.rows))
            execute_many(
                "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    (letter.partition, letter.offset, letter.key, letter.value, letter.reason, letter.event_time_us)
                    for letter in changes.dead_letters
                ],
            )
            execute_many(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)",
                [
                    (partition, its.next_offset, its.watermark_us, msgspec.json.encode(its.origins).decode())
                    for partition, its in progress.items()
                ],
            )

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
