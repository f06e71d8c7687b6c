"""A PostgreSQL server for tests: in a folder of its own, on a free port of the loopback interface."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psycopg

from kappa.ports.lock import ProjectLock
from kappa.testing.eventually import eventually

# Debian keeps the programs of a server out of the search path.
_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def programs() -> Path | None:
    """Return the folder of the server's programs, if this machine has them."""
    if found := shutil.which("postgres"):
        return Path(found).parent
    return _DEBIAN[-1].parent if _DEBIAN else None


class PostgresServer:
    """A server that can be stopped at once, as by a power failure, and started again. It trusts everybody."""

    def __init__(self, *options: str) -> None:
        found = programs()
        assert found is not None, "no PostgreSQL here"
        # It refuses to run as root. Its folder must be reachable for another user, which pytest's are not.
        self._user = "postgres" if os.getuid() == 0 else None
        self._programs, self._options = found, options
        self.folder = Path(tempfile.mkdtemp(prefix="kappa-postgres-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._run("initdb", "--pgdata=data", "--username=kappa", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self.start()

    @property
    def dsn(self) -> str:
        return f"postgresql://kappa@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", *self._options]
        arguments = [argument for setting in settings for argument in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", "data", "-p", str(self.port), *arguments],
                cwd=self.folder,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        eventually(self._answers, what="PostgreSQL answers")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it, by default at once: what is not on disk is lost, and it has to recover."""
        self._process.send_signal(how)
        self._process.wait(timeout=60)

    def execute(self, sql: str, parameters: Sequence[object] | None = None) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self.dsn).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, *arguments]
        subprocess.run(command, cwd=self.folder, user=self._user, check=True, capture_output=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGINT)
        shutil.rmtree(self.folder)


def end_session_of(lock: ProjectLock, dsn: str) -> None:
    """End the session that holds a lock, as an administrator would; return when the server has let go of the lock."""
    holder = lock.holder()
    assert holder is not None
    with psycopg.connect(dsn, autocommit=True) as administrator:
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
            (f"kappa {holder.pid} %",),
        )
    eventually(lambda: lock.holder() is None, what="the session has ended")
