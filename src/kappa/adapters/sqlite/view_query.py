"""Answer an SQL query of a user over views: read only, bounded in time and rows.

The connection's own database is empty and in memory; the versions' files are attached for reading, and a temporary
view per relation puts their groups together. Whatever the SQL says, it can only select.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from kappa.adapters.sqlite.connection import connect_to_nothing, sqlite_errors, unavailable, uri
from kappa.adapters.sqlite.stored_table import quoted, stored_table
from kappa.errors import KappaError, QueryError
from kappa.model.schema import ViewTable
from kappa.ports.views import QueryResult

# SQLite looks at the clock each time it has run this many of its instructions, some 20 us.
INSTRUCTIONS_PER_CHECK = 1_000

# Of one value: `zeroblob(1000000000)` would take a gigabyte of memory.
VALUE_BYTES_MAX = 64 * 1024 * 1024

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def answer(
    sql: str,
    *,
    views: Mapping[str, tuple[ViewTable, Sequence[Path]]],
    folder: Path,
    rows_max: int,
    timeout_s: float,
) -> QueryResult:
    """Return the answer to one SELECT.

    Args:
        sql: The query.
        views: Name of a relation -> its table, and the files of those groups that have one.
        folder: Where the files are, for errors.
        rows_max: At most so many rows are returned.
        timeout_s: From here to the last row.

    Raises:
        QueryError: The SQL is wrong, writes, takes too long, or names too many views.
        StoreUnavailable: Retry.
    """
    # SQLite can attach few files, so only those of views whose names occur in the query.
    words = set(re.findall(r"\w+", sql.casefold()))
    named = {name: view for name, view in views.items() if name.casefold() in words}
    with closing(connect_to_nothing()) as connection:
        _prepare(connection, named, folder)
        deadline = time.monotonic() + timeout_s
        connection.set_progress_handler(lambda: time.monotonic() > deadline, INSTRUCTIONS_PER_CHECK)
        try:
            cursor = connection.execute(sql)
            rows = cursor.fetchmany(rows_max + 1)
            columns = tuple(column[0] for column in cursor.description or ())
        except (sqlite3.Error, ValueError) as error:  # ValueError: text that is not Unicode
            raise _refusal(error, views=tuple(views), folder=folder, timeout_s=timeout_s) from error
    if not columns:
        raise QueryError("the query is empty", next_step="write one SELECT")
    return QueryResult(columns, rows[:rows_max], truncated=len(rows) > rows_max)


def _prepare(
    connection: sqlite3.Connection, named: Mapping[str, tuple[ViewTable, Sequence[Path]]], folder: Path
) -> None:
    """Attach the files, create the relations, and from then on allow nothing but to select."""
    file_count = sum(len(files) for _, files in named.values())
    file_count_max = connection.getlimit(sqlite3.SQLITE_LIMIT_ATTACHED)
    if file_count > file_count_max:
        raise QueryError(
            f"the query reads {file_count} files ({', '.join(named)}): SQLite can read {file_count_max} at once",
            next_step="query fewer views at once; a view has one file per worker",
        )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
    attached_count = 0
    for name, (table, files) in named.items():
        columns = stored_table(table).relation
        groups = []
        for file in files:
            with sqlite_errors(file):
                connection.execute(f"ATTACH ? AS file{attached_count}", (uri(file, read_only=True),))
            groups.append(f"SELECT {', '.join(columns)} FROM file{attached_count}.rows WHERE _state IS NOT NULL")  # noqa: S608 - quoted
            attached_count += 1
        if not groups:
            groups = [f"SELECT {', '.join(f'NULL AS {column}' for column in columns)} WHERE 0"]
        with sqlite_errors(folder):
            connection.execute(f"CREATE TEMP VIEW {quoted(name)} AS {' UNION ALL '.join(groups)}")
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY,
    )


def _refusal(error: sqlite3.Error | ValueError, *, views: Sequence[str], folder: Path, timeout_s: float) -> KappaError:
    if isinstance(error, sqlite3.Error):
        if (store_error := unavailable(error, folder)) is not None:
            return store_error
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return QueryError(
                f"the query took longer than {timeout_s:g} s", next_step="narrow it, or allow it more time"
            )
    return QueryError(
        f"cannot answer the query: {error}", next_step=f"write one SELECT; it can read: {', '.join(views) or 'no view'}"
    )
