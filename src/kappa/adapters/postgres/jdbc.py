"""How Java, on another machine, reaches the database that a connection string leads to from here.

What the string leaves out comes from this process's environment (PGHOST, PGPASSFILE), which a job does not have: so
both the string and its form for JDBC are made whole here. They hold a password, and are never shown.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from psycopg.conninfo import make_conninfo

from kappa.adapters.postgres.database import IDLE_IN_TRANSACTION_TIMEOUT_S, Database, final

# What libpq calls it -> what JDBC calls it. The rest has no counterpart, or is not about reaching the server.
_PROPERTIES = {
    "user": "user",
    "password": "password",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "sslpassword": "sslpassword",
    "connect_timeout": "connectTimeout",
}
_DEFAULT_PORT = "5432"
_SESSION = {
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_S:.0f}s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}


class Reached(msgspec.Struct, frozen=True):
    """A database, as others reach it.

    Attributes:
        dsn: A connection string that depends on no environment.
        url: For JDBC.
        properties: For JDBC: user, password and the like.
    """

    dsn: str
    url: str
    properties: Mapping[str, str]


def reach(dsn: str) -> Reached:
    """Connect once, and return how others do.

    Raises:
        StoreUnavailable: Retry; final if only processes of this machine can reach it.
    """
    database = Database(dsn)
    with database.translated(), database.connect() as connection:
        given = {
            option.keyword.decode(): option.val.decode() for option in connection.pgconn.info if option.val is not None
        }
        # Perhaps from a file of passwords.
        return reached_by({**given, "password": connection.info.password})


def reached_by(parameters: Mapping[str, str]) -> Reached:
    """Return how a database is reached by these parameters, which are libpq's.

    Raises:
        StoreUnavailable: Only processes of this machine can reach it. Final.

    >>> reached_by({"host": "db1,db2", "port": "5433", "dbname": "shop", "password": ""}).url
    'jdbc:postgresql://db1:5433,db2:5433/shop'
    """
    given = {name: value for name, value in parameters.items() if value}
    hosts = given.get("host", "").split(",")
    if any(not host or host.startswith("/") for host in hosts):
        cause = "postgres.dsn leads to a socket of this machine, which a cluster cannot reach"
        raise final("PostgreSQL", cause, "write it as postgresql://USER@HOST:PORT/DATABASE")
    return Reached(make_conninfo("", **given), _url(given, hosts), _properties(given))


def _url(given: Mapping[str, str], hosts: list[str]) -> str:
    ports = given.get("port", _DEFAULT_PORT).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    places = ",".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)
    )
    return f"jdbc:postgresql://{places}/{given['dbname']}"


def _properties(given: Mapping[str, str]) -> Mapping[str, str]:
    """Return the properties of a connection that writes. As on ours, what commits is on disk, and the server lets go of
    the locks of a process that was stopped in a transaction, or whose machine has vanished.

    >>> _properties({"user": "ana", "password": "x", "target_session_attrs": "read-write"})["targetServerType"]
    'primary'
    """
    properties = {_PROPERTIES[name]: value for name, value in given.items() if name in _PROPERTIES}
    if given.get("target_session_attrs") in ("read-write", "primary"):
        properties["targetServerType"] = "primary"
    session = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    return {**properties, "options": f"{given.get('options', '')} {session}".strip()}
