"""The project lock in PostgreSQL, for a project that several machines can reach: an advisory lock of one session.

The server frees it when the session ends, however that comes about. Who holds it is told by the session's own name,
which ends with it too, so that there is no row to go stale. It writes nothing, and needs no schema.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import psycopg

from kappa.adapters.postgres.database import Connection, Database
from kappa.errors import AlreadyRunning, StoreUnavailable, TakenOver
from kappa.ports.lock import Holder

# What PostgreSQL keeps of a session's name.
_NAME_BYTES_MAX = 63
_SINCE = "%Y%m%dT%H%M%S"

# A holder whose machine has vanished: the server sees that its session is gone within half a minute, not two hours.
_SESSION = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4"}

_HOLDER = """
    SELECT session.application_name FROM pg_locks AS held JOIN pg_stat_activity AS session ON session.pid = held.pid
    WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (held.classid::bigint << 32) | held.objid::bigint = hashtextextended(%s, 0)
"""


class PostgresLock:
    """The right to run the project whose stores are in one database."""

    def __init__(self, database: Database) -> None:
        """Prepare; connects on first use. `database` is closed with this."""
        self._database = database
        self._key = f"{database.names.control}.run"
        self._taken_by: Holder | None = None
        self._session: Connection | None = None

    def take(self, holder: Holder) -> None:
        assert self._taken_by is None, "this object has the lock"
        self._session = self._lock(holder)
        self._taken_by = holder

    def check(self) -> None:
        assert self._taken_by is not None, "the lock was never taken"
        if self._session is not None:
            try:
                self._session.execute("SELECT")
            except psycopg.Error:
                # The session is lost, and with it the lock.
                self._session.close()
                self._session = None
            else:
                return
        try:
            self._session = self._lock(self._taken_by)
        except AlreadyRunning as error:
            if error.holder is None or error.holder == str(_told(_name(self._taken_by))):
                cause = "it still holds the project lock for a session that was lost"
                raise StoreUnavailable(store=self._database.name, cause=cause) from error
            raise TakenOver(holder=error.holder) from error

    def _lock(self, holder: Holder) -> Connection:
        session = self._database.connect()
        try:
            with self._database.translated():
                for name, value in {"application_name": _name(holder), **_SESSION}.items():
                    session.execute("SELECT set_config(%s, %s, false)", (name, value))
                _take(session, self._key)
        except BaseException:
            session.close()
            raise
        return session

    def holder(self) -> Holder | None:
        with self._database.reading() as connection:
            return _holder(connection, self._key)

    def close(self) -> None:
        if self._session is not None:
            # The server takes a moment to notice that a session has ended; one that was lost has no lock any more.
            with suppress(psycopg.Error):
                self._session.execute("SELECT pg_advisory_unlock_all()")
            self._session.close()
            self._session = None
        self._taken_by = None
        self._database.close()


def _take(session: Connection, key: str) -> None:
    if session.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)).fetchone() != (True,):
        first = _holder(session, key)
        raise AlreadyRunning(holder=None if first is None else str(first))


def _holder(connection: Connection, key: str) -> Holder | None:
    found = connection.execute(_HOLDER, (key,)).fetchone()
    return None if found is None else _told(found[0])


def _name(holder: Holder) -> str:
    """Return the name of a holder's session; the rest of a long host name is cut off.

    >>> _name(Holder("db-1", 4711, datetime(2026, 3, 1, 12, tzinfo=UTC)))
    'kappa 4711 20260301T120000 db-1'
    """
    # PostgreSQL replaces what is not ASCII.
    host = holder.host.encode("ascii", "replace").decode()
    return f"kappa {holder.pid} {holder.since:{_SINCE}} {host}"[:_NAME_BYTES_MAX]


def _told(name: str) -> Holder | None:
    """Return the holder that a session's name tells of, or None if it is of somebody who is not kappa.

    >>> _told("kappa 4711 20260301T120000 db-1")
    Holder(host='db-1', pid=4711, since=datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.timezone.utc))
    """
    match name.split(" ", 3):
        case ["kappa", pid, since, host]:
            return Holder(host, int(pid), datetime.strptime(since, _SINCE).replace(tzinfo=UTC))
    return None
