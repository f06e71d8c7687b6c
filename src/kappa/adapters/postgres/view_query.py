"""Answer an SQL query of a user over views: read only, bounded in time and rows.

The query becomes part of one cursor, which PostgreSQL gives to nothing but a SELECT, on a connection of its own in
a read-only transaction; the views are relations before it, `WITH name AS (...)`. So all of them are of one moment, and
no object is made for it. What else the connection's role may read, a query can read: `postgres.query_dsn` names a role
that can read rows and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import psycopg
from psycopg import errors

from kappa.adapters.postgres.database import Connection, Database, quoted
from kappa.adapters.postgres.stored_table import relations
from kappa.adapters.postgres.values import identifier, load_as_text
from kappa.errors import KappaError, QueryError
from kappa.model.schema import ViewTable
from kappa.ports.views import QueryResult


def answer(
    sql: str, *, views: Mapping[str, ViewTable], database: Database, rows_max: int, timeout_s: float
) -> QueryResult:
    """Return the answer to one SELECT.

    Args:
        sql: The query.
        views: Name of a relation -> its table.
        database: Where the tables are.
        rows_max: At most so many rows are returned.
        timeout_s: For the first rows, and for each portion that follows.

    Raises:
        QueryError: The SQL is wrong, writes, or takes too long.
        StoreUnavailable: Retry.
    """
    body = sql.strip().removesuffix(";")
    if not body:
        raise QueryError("the query is empty", next_step="write one SELECT")
    # A connection of its own: what a query does to its session, with set_config or an advisory lock, ends with it.
    with closing(database.connect()) as connection:
        load_as_text(connection)
        connection.read_only = True
        try:
            # Some functions write even in a read-only transaction: undone.
            with connection.transaction(force_rollback=True):
                named = _relations(connection, views, database.names.views)
                milliseconds = max(1, round(timeout_s * 1_000))
                connection.execute(f"SET LOCAL statement_timeout = {milliseconds}")
                with connection.cursor("answer") as cursor:
                    # A subquery may have a WITH of its own, and keeps its order; a comment ends with its line.
                    whole = f"{named}SELECT * FROM ({body}\n) AS answer"  # noqa: S608 - the user's own SQL, see above
                    cursor.execute(whole.encode())
                    rows = cursor.fetchmany(rows_max + 1)
                    columns = tuple(column.name for column in cursor.description or ())
        except (psycopg.Error, UnicodeError) as error:
            raise _refusal(error, views=views, database=database, timeout_s=timeout_s) from error
    return QueryResult(columns, rows[:rows_max], truncated=len(rows) > rows_max)


def _relations(connection: Connection, views: Mapping[str, ViewTable], schema: str) -> str:
    """Return the clause that makes relations of versions."""
    tables = [identifier(table.name) for table in views.values()]
    existing = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relname = ANY(%s)",
        (quoted(schema), tables),
    )
    found = relations(views, schema=schema, existing={name for (name,) in existing})
    named = ", ".join(f"{name} AS NOT MATERIALIZED ({selected})" for name, selected in found)
    return f"WITH {named} " if named else ""


def _refusal(
    error: psycopg.Error | UnicodeError, *, views: Mapping[str, ViewTable], database: Database, timeout_s: float
) -> KappaError:
    if isinstance(error, errors.QueryCanceled):
        return QueryError(f"the query took longer than {timeout_s:g} s", next_step="narrow it, or allow it more time")
    if (
        isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        and (lost := database.unavailable(error)) is not None
    ):
        return lost
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else str(error)
    return QueryError(
        f"cannot answer the query: {said or error}",
        next_step=f"write one SELECT; it can read: {', '.join(views) or 'no view'}",
    )
