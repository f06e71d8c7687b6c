"""Open the stores of a project in PostgreSQL. Importing this needs the driver, which is an optional extra."""

from __future__ import annotations

from kappa.adapters.postgres.control import PostgresControl
from kappa.adapters.postgres.database import STATEMENT_TIMEOUT_S, Database
from kappa.adapters.postgres.lock import PostgresLock
from kappa.adapters.postgres.views import PostgresViews


def open_views(
    dsn: str, *, query_dsn: str = "", schema_prefix: str = "kappa", statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> PostgresViews:
    """Open the rows of all versions.

    Args:
        dsn: A connection string or URL.
        query_dsn: The same database by a role that can only read, for people's queries; by default `dsn`.
        schema_prefix: What the project's schemas are called.
        statement_timeout_s: When a statement is cut off.
    """
    database = Database(dsn, schema_prefix=schema_prefix, statement_timeout_s=statement_timeout_s)
    readers = Database(query_dsn, schema_prefix=schema_prefix) if query_dsn else database
    return PostgresViews(database, readers=readers)


def open_control(
    dsn: str, *, project: str, schema_prefix: str = "kappa", statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> PostgresControl:
    """Open the control store of a project.

    Raises:
        StoreUnavailable: Retry; final if these schemas belong to another project.
    """
    database = Database(dsn, schema_prefix=schema_prefix, statement_timeout_s=statement_timeout_s)
    return PostgresControl(database, project=project)


def open_lock(dsn: str, *, schema_prefix: str = "kappa") -> PostgresLock:
    """Open the lock of the project with these schemas."""
    return PostgresLock(Database(dsn, schema_prefix=schema_prefix))
