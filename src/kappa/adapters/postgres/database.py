"""The one place that opens PostgreSQL, and the one translation of what it says when it cannot work.

It knows no table of a version. A connection that was lost is never used again: the call that met the loss raises
`StoreUnavailable`, and the next one connects anew. What commits is on disk when the commit returns, whatever the
server's own setting. A driver's error that is a mistake of ours (wrong SQL, a value that does not fit) goes through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from kappa.adapters.postgres.values import load_exactly
from kappa.errors import StorageFull, StoreUnavailable

Connection = psycopg.Connection[tuple[Any, ...]]

# Rises when the tables beside those of versions change; a database of another format is refused.
FORMAT = 2

# A commit of 400,000 rows takes some seconds; one that takes so long is stuck.
STATEMENT_TIMEOUT_S = 60.0
# Nobody holds a lock longer than a commit takes, unless it is stuck.
LOCK_TIMEOUT_S = 10.0
# Of a process that was stopped in the middle of a transaction: its locks are freed.
IDLE_IN_TRANSACTION_TIMEOUT_S = 60.0
# Kept open for the next call. More are opened when scans and snapshots run side by side, and closed afterwards.
IDLE_CONNECTIONS_MAX = 4

# Unless the connection string says otherwise. A machine that vanished is noticed within half a minute.
_CONNECTION_DEFAULTS = {
    "application_name": "kappa",
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}
_SERVER_VERSION_MIN = 14_00_00

# What waiting does not mend -> what to do about it.
_FINAL: dict[type[psycopg.Error], str] = {
    errors.DataCorrupted: "put a good copy in its place; views can be rebuilt from the log",
    errors.IndexCorrupted: "put a good copy in its place, or rebuild the index: REINDEX",
    errors.InsufficientPrivilege: "give its role the rights that it needs: kappa postgres roles",
    errors.DependentObjectsStillExist: "drop what depends on it, and make it anew afterwards",
}
# What may work later: no connection, no time, a standby that is about to take over, a table that is yet to come.
_RETRYABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.UndefinedTable,
    errors.InvalidSchemaName,
)
_NEXT_STEPS: dict[type[psycopg.Error], str] = {
    errors.UndefinedTable: "run kappa up, which creates it",
    errors.InvalidSchemaName: "run kappa up, which creates it",
    errors.LockNotAvailable: "let whoever holds the lock finish",
    errors.QueryCanceled: "it took longer than postgres.statement_timeout_s: find out why, or raise it",
    errors.TooManyConnections: "raise max_connections, or run fewer workers",
}


class Names:
    """The schemas of one project.

    Attributes:
        public: For readers: a view by each name that is served, which always shows the primary.
        views: The tables of all versions, and the progress and dead letters of each.
        control: The control store.
    """

    def __init__(self, prefix: str) -> None:
        self.public, self.views, self.control = prefix, f"{prefix}_views", f"{prefix}_control"


class Database:
    """One PostgreSQL database as one process uses it. Not for use by two threads.

    Attributes:
        name: `HOST:PORT/DATABASE`, for people; never a password.
        names: The project's schemas.
    """

    def __init__(
        self, dsn: str, *, schema_prefix: str = "kappa", statement_timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> None:
        """Remember where it is; connects on first use.

        Args:
            dsn: A connection string or URL. What it leaves out comes from libpq's environment, PGPASSFILE among it.
            schema_prefix: What the project's schemas are called.
            statement_timeout_s: When a statement is cut off.

        Raises:
            StoreUnavailable: `dsn` is no connection string. Final.
        """
        try:
            given = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # Without what the driver says: it repeats parts of the string, which may hold a password.
            raise final("PostgreSQL", "postgres.dsn is no connection string", _DSN_NEXT_STEP) from None
        self._conninfo = make_conninfo("", **{**_CONNECTION_DEFAULTS, **given})
        self._statement_timeout_s = statement_timeout_s
        self._idle: list[Connection] = []
        self.name = f"PostgreSQL {_place(given)}"
        self.names = Names(schema_prefix)

    def connect(self) -> Connection:
        """Open a connection that the caller owns. Transactions are explicit.

        Raises:
            StoreUnavailable: Retry; final if the server is too old.
        """
        with self.translated():
            connection: Connection = psycopg.connect(self._conninfo, autocommit=True)
            try:
                self._refuse_old(connection)
                load_exactly(connection)
                settings = {
                    "search_path": "pg_catalog",
                    "timezone": "UTC",
                    "synchronous_commit": "on",
                    "statement_timeout": _ms(self._statement_timeout_s),
                    "lock_timeout": _ms(LOCK_TIMEOUT_S),
                    "idle_in_transaction_session_timeout": _ms(IDLE_IN_TRANSACTION_TIMEOUT_S),
                }
                connection.execute(
                    f"SELECT {', '.join(['set_config(%s, %s, false)'] * len(settings))}",
                    [text for setting in settings.items() for text in setting],
                )
            except BaseException:
                connection.close()
                raise
            return connection

    def _refuse_old(self, connection: Connection) -> None:
        if connection.info.server_version < _SERVER_VERSION_MIN:
            version = connection.info.parameter_status("server_version")
            raise final(self.name, f"it is PostgreSQL {version}, and kappa needs 14 or newer", "upgrade it")

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """Lend a connection to a block. Errors are the block's to translate."""
        connection = self._idle.pop() if self._idle else self.connect()
        try:
            yield connection
        finally:
            self._take_back(connection)

    def _take_back(self, connection: Connection) -> None:
        if connection.closed:
            # A server that stopped took the others along: one call is to meet the loss, not four.
            self.close()
        elif connection.info.transaction_status is TransactionStatus.IDLE and len(self._idle) < IDLE_CONNECTIONS_MAX:
            self._idle.append(connection)
        else:
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection to one transaction, on disk when the block ends, and translate what fails."""
        with self.translated(), self.lent() as connection, connection.transaction():
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection to single statements that read, and translate what fails."""
        with self.translated(), self.lent() as connection:
            yield connection

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate what the driver raises; let our own mistakes through."""
        try:
            yield
        except psycopg.Error as error:
            if (translated := self.unavailable(error)) is None:
                raise
            raise translated from error

    def unavailable(self, error: psycopg.Error) -> StoreUnavailable | None:
        """Return what an error means to others, or None if it is a mistake of ours."""
        cause = " ".join((error.diag.message_primary or str(error)).split())
        if isinstance(error, errors.DiskFull):
            return StorageFull(store=self.name, cause=cause)
        for kind, next_step in _FINAL.items():
            if isinstance(error, kind):
                detail = " ".join((error.diag.message_detail or "").split())
                return final(self.name, f"{cause}: {detail}" if detail else cause, next_step)
        if isinstance(error, _RETRYABLE):
            return StoreUnavailable(store=self.name, cause=cause, next_step=_NEXT_STEPS.get(type(error)))
        return None

    def create(self, schema: str, tables: str) -> None:
        """Create a schema with its tables, unless it is there. Safe if several processes do it at once.

        The number of the format is kept in it.

        Raises:
            StoreUnavailable: It has another format. Final.
        """
        with self.transaction() as connection:
            if _format(connection, schema) is None:
                lock(connection, schema)
                if _format(connection, schema) is None:
                    create_schema(connection, schema)
                    connection.execute(f"SET LOCAL search_path = {quoted(schema)}, pg_catalog")
                    connection.execute(f"CREATE TABLE format (number integer NOT NULL); {tables}")
                    connection.execute("INSERT INTO format VALUES (%s)", (FORMAT,))
            found = _format(connection, schema)
        if found != FORMAT:
            cause = f"the format of schema {schema} is {found}, and this release of kappa reads format {FORMAT}"
            raise final(self.name, cause, "use the release of kappa that wrote it, or another postgres.schema_prefix")

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Let a store take this over: if that fails, nobody else would close it."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close idle connections. Idempotent."""
        while self._idle:
            self._idle.pop().close()


def lock(connection: Connection, name: str) -> None:
    """Wait until no other transaction holds the lock of this name, and hold it to the end of this one."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def create_schema(connection: Connection, schema: str) -> None:
    """Create a schema unless it is there, which also whoever may not create one can find."""
    # Not to_regnamespace or to_regclass: they may answer from a cache that is older than a lock just taken.
    if not connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,)).fetchall():
        connection.execute(f"CREATE SCHEMA {quoted(schema)}")


def quoted(name: str) -> str:
    """Return a name as an SQL identifier.

    >>> print(quoted('so "called" order'))
    "so ""called"" order"
    """
    return psycopg.sql.Identifier(name).as_string(None)


def _format(connection: Connection, schema: str) -> int | None:
    """Return the number of a schema's format, or None if it does not have its tables yet."""
    there = connection.execute(
        "SELECT FROM pg_class AS it JOIN pg_namespace AS its ON its.oid = it.relnamespace"
        " WHERE its.nspname = %s AND it.relname = 'format'",
        (schema,),
    )
    if not there.fetchall():
        return None
    found = connection.execute(f"SELECT number FROM {quoted(schema)}.format").fetchone()  # noqa: S608 - quoted
    return found[0] if found else 0


_DSN_NEXT_STEP = "write it as postgresql://USER@HOST:PORT/DATABASE; the password may come from PGPASSFILE"


def _place(given: dict[str, Any]) -> str:
    """Name the server and the database, as far as the connection string does.

    >>> _place({"host": "127.0.0.1", "port": "5432", "dbname": "kappa", "password": "secret"})
    '127.0.0.1:5432/kappa'
    """
    where = f"{given.get('host', 'by default')}:{given['port']}" if "port" in given else given.get("host", "by default")
    return f"{where}/{given['dbname']}" if "dbname" in given else str(where)


def _ms(seconds: float) -> str:
    return str(round(seconds * 1_000))


def final(store: str, cause: str, next_step: str) -> StoreUnavailable:
    """Return an error that waiting does not mend."""
    error = StoreUnavailable(store=store, cause=cause, next_step=next_step)
    error.retryable = False
    return error
