"""One process at a time runs a project: a lock on a file, which the system releases however the holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

import msgspec

from kappa.errors import AlreadyRunning


class Holder(msgspec.Struct):
    """Who holds the lock; written into the file for whoever is refused."""

    pid: int
    since: str


class ProjectLock:
    """The right to run a project's workers. A context manager."""

    def __init__(self, file: Path, *, since: str) -> None:
        """Prepare to lock `file`; `since` is the time of starting, as text for people."""
        self._file, self._since = file, since
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AlreadyRunning: Another process has it.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            holder = read_holder(self._file)
            raise AlreadyRunning(
                pid=holder.pid if holder else None, since=holder.since if holder else "a moment ago"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, msgspec.json.encode(Holder(os.getpid(), self._since)))
        self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def read_holder(file: Path) -> Holder | None:
    """Return who holds the lock, or None if nobody does or it is not written yet."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None


def held_by(file: Path) -> Holder | None:
    """Return whoever wrote the file and still lives. For people to read: only taking the lock is certain."""
    holder = read_holder(file)
    if holder is None:
        return None
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it lives, and belongs to somebody else
    return holder
