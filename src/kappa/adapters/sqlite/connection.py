"""The one place that opens SQLite files, and the one translation of what SQLite says when it cannot work.

It knows no table. A database appears under its name with its whole schema or not at all, a transaction is either
committed and on disk or leaves nothing behind, and a driver's error leaves this package as a `StoreUnavailable`
unless it is a mistake of ours (wrong SQL, a value that does not fit).
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from kappa.errors import StorageFull, StoreUnavailable

# A commit of 100,000 rows holds the lock for under a second; waiting longer than this means that it is stuck.
BUSY_TIMEOUT_S = 10.0

# With less room than this, a write or a creation that failed is taken to have failed for want of it.
FREE_BYTES_MIN = 1024 * 1024

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# The primary codes of what is nobody's mistake -> what to do about it. Any other error is a mistake of ours.
_NEXT_STEPS = {
    **dict.fromkeys(_DAMAGED, "put a good copy in its place; views can be rebuilt from the log"),
    **dict.fromkeys(
        (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS),
        "check that the file exists and can be written",
    ),
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL), "let its other user finish"),
    **dict.fromkeys((sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM), None),
}


def create(file: Path, schema: str, *, page_bytes: int = 4096, schema_format: int = 0) -> None:
    """Create a database with a schema, unless there is one already. Safe if several processes do it at once.

    The number of the schema's format is kept in the file, for `connect` to check.

    It is built beside its place and linked into it, because two processes that switch an empty file to
    write-ahead logging at the same time fail with "database is locked", whatever the busy timeout.
    """
    with sqlite_errors(file):
        if file.exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".creating-") as folder:
            draft = Path(folder) / "draft.db"
            with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute(f"PRAGMA page_size = {page_bytes}")
                connection.executescript(f"BEGIN; {schema}; PRAGMA user_version = {schema_format}; COMMIT")
                # Not before: the schema would lie in a write-ahead log, which a full disk keeps out of the file.
                connection.execute("PRAGMA journal_mode = WAL")
            # Nobody uses the draft, so it is enough to have it on disk once, before it gets its name.
            with draft.open("r+b") as written:
                os.fsync(written.fileno())
            with suppress(FileExistsError):
                os.link(draft, file)


def connect(file: Path, *, read_only: bool = False, schema_format: int = 0) -> sqlite3.Connection:
    """Open a database that exists. Transactions are explicit; a commit is on disk when it returns.

    Raises:
        StoreUnavailable: There is no such file, it is no database, or its schema has another format. The last two
            are final.
    """
    with sqlite_errors(file):
        connection = _open(uri(file, read_only=read_only))
        try:
            connection.execute("PRAGMA synchronous = FULL")
            _check_format(connection, file, schema_format)  # a file that is no database shows now
        except BaseException:
            connection.close()
            raise
        return connection


def _check_format(connection: sqlite3.Connection, file: Path, expected: int) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found != expected:
        error = StoreUnavailable(
            store=str(file),
            cause=f"its format is {found}, and this release of kappa reads format {expected}",
            next_step="use the release of kappa that wrote it, or move its folder away and ingest the events anew",
        )
        error.retryable = False
        raise error


def connect_to_nothing() -> sqlite3.Connection:
    """Open an empty database in memory, to which files can be attached by their `uri`."""
    return _open("file::memory:")


def _open(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)


def uri(file: Path, *, read_only: bool) -> str:
    """Return the name by which SQLite opens a file that exists, and never creates one."""
    return f"{file.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"


def delete(file: Path) -> None:
    """Delete a database. Idempotent."""
    # The write-ahead log goes first: one left alone would be replayed into a new database of the same name.
    with sqlite_errors(file):
        for each in (_wal(file), file.with_name(f"{file.name}-shm"), file):
            each.unlink(missing_ok=True)


def size_bytes(file: Path) -> int:
    """Return the space that a database takes; 0 if there is none."""
    size = 0
    for each in (file, _wal(file)):
        with suppress(FileNotFoundError):
            size += each.stat().st_size
    return size


def _wal(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a block as one write transaction: no other writer from its first line on, nothing written if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after some errors, a full disk among them, but not after all.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def sqlite_errors(file: Path) -> Iterator[None]:
    """Translate what SQLite and the file system raise about `file`; let our own mistakes through."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if (translated := unavailable(error, file)) is None:
            raise
        raise translated from error


def unavailable(error: sqlite3.Error | OSError, file: Path) -> StoreUnavailable | None:
    """Return what an error about `file` means to others, or None if it is a mistake of ours."""
    # Errors that Python's driver raises itself have no code. The low byte is the primary code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if _full(error, code, file):
        return StorageFull(store=str(file), cause=str(error))
    if isinstance(error, OSError):
        return StoreUnavailable(store=str(file), cause=str(error), next_step="check the folder and its permissions")
    if code not in _NEXT_STEPS:
        return None
    translated = StoreUnavailable(store=str(file), cause=str(error), next_step=_NEXT_STEPS[code])
    translated.retryable = code not in _DAMAGED
    return translated


def _full(error: sqlite3.Error | OSError, code: int, file: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        # So SQLite reports some of its failed writes and creations, and does not say why they failed.
        with suppress(OSError):
            return shutil.disk_usage(file.parent).free < FREE_BYTES_MIN
    return code == sqlite3.SQLITE_FULL
