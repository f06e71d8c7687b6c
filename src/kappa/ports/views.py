"""The view store: the rows of every version, written by fenced workers, read by anybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from kappa.model.records import Changes, Progress
from kappa.model.schema import ViewTable


class StoredRow(msgspec.Struct, frozen=True, gc=False):
    """A row as stored: public column values in the table's order, state, and the position where it is true."""

    columns: tuple[Any, ...]
    state: bytes
    partition: int
    offset: int
    step: int
    due_us: int | None


class DeadLetterEntry(msgspec.Struct, frozen=True, gc=False):
    """A dead letter as stored. `partition` and `offset` identify it within its version."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    reason: str
    event_time_us: int


class Snapshot(msgspec.Struct, frozen=True):
    """A partition group of a version, all of one moment.

    Attributes:
        progress: Of each partition of the group; the rows hold every event before it.
        rows: All rows, in no particular order, to be read once.
        dead_letters: All dead letters, ordered by partition and offset, to be read once, before or after the rows.
    """

    progress: Mapping[int, Progress]
    rows: Iterator[StoredRow]
    dead_letters: Iterator[DeadLetterEntry]


class QueryResult(msgspec.Struct, frozen=True):
    """The answer to an SQL query. `truncated` says that there are more rows than asked for."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    truncated: bool


class ViewWriter(Protocol):
    """One worker's access to its partition group of one version. Not for use by two threads."""

    def progress(self) -> Mapping[int, Progress]:
        """Return the committed progress of each partition of the group; (0, 0) where nothing was committed."""

    def has_rows(self) -> bool:
        """Say whether the group has any row, so that a first replay need not look for rows that cannot exist."""

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the committed state of those keys that have a row. `keys` may be empty and of any number."""

    def commit(self, changes: Changes, progress: Mapping[int, Progress]) -> None:
        """Write rows, dead letters and progress in one transaction, durable when it returns.

        A row never overwrites one with a greater (offset, step) in the same partition. A dead letter that is already
        there is left as it is. Partitions missing from `progress` keep theirs.

        Raises:
            Fenced: A writer with a higher epoch exists. Nothing was written. Final for this writer.
            StoreUnavailable: Nothing was written. Retry.
            StorageFull: Likewise, until there is room.
        """

    def close(self) -> None:
        """Release the connection. Uncommitted work is lost, as it should be. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ViewStore(Protocol):
    """The tables of all versions. Readers see committed transactions only, and never wait for a writer."""

    def create(self, table: ViewTable) -> None:
        """Create a version's table if it is not there. Idempotent."""

    def drop(self, table: ViewTable) -> None:
        """Delete a version's table with its rows, progress and dead letters. Idempotent."""

    def writer(self, table: ViewTable, group: int, *, epoch: int) -> ViewWriter:
        """Open the group for writing. From now on every writer of this group with a lower epoch is fenced.

        Raises:
            Fenced: A writer with a higher epoch was opened before.
            StoreUnavailable: Retry.
        """

    def progress(self, table: ViewTable) -> Mapping[int, Progress]:
        """Return the committed progress of every partition."""

    def get(self, table: ViewTable, key: bytes) -> StoredRow | None:
        """Return the row of one record key, or None."""

    def get_many(self, table: ViewTable, keys: Sequence[bytes]) -> Mapping[bytes, StoredRow]:
        """Return the rows of those record keys that have one. `keys` may be empty and of any number."""

    def snapshot(self, table: ViewTable, group: int) -> AbstractContextManager[Snapshot]:
        """Give everything that a group holds, as it was committed at one moment, while the block runs.

        A snapshot that is fuzzy is legal too: rows newer than its progress, with the dead letters up to them. The
        kernel passes over events that a row already holds. It never is older.
        """

    def scan(self, table: ViewTable) -> Iterator[StoredRow]:
        """Yield all rows in one consistent state per partition group, in no particular order.

        Positions are read before rows, so each row is at least as new as `progress` read earlier.
        """

    def row_count(self, table: ViewTable) -> int:
        """Return the number of rows."""

    def size_bytes(self, table: ViewTable) -> int:
        """Return the space that the version takes, in bytes."""

    def dead_letters(
        self, table: ViewTable, *, limit: int, partition: int | None = None, offset: int | None = None
    ) -> Sequence[DeadLetterEntry]:
        """Return at most `limit` dead letters ordered by partition and offset, of one partition or offset if given."""

    def dead_letter_count(self, table: ViewTable) -> int:
        """Return the number of dead letters."""

    def query(self, sql: str, *, views: Mapping[str, ViewTable], rows_max: int, timeout_s: float) -> QueryResult:
        """Answer a read-only query, in which each name of `views` is a relation with the public columns.

        The relations also show `_partition`, `_offset` and `_step`. Decimals come as text, timestamps as ISO 8601
        text in UTC, JSON as text. All tables of one version are seen at one moment each.

        Raises:
            QueryError: The SQL is wrong, writes, takes longer than `timeout_s`, or names too many views at once.
            StoreUnavailable: Retry.
        """

    def close(self) -> None:
        """Release files and connections. Idempotent."""
