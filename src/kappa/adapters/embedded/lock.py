"""The project lock as a file, for a project whose stores are files: the system releases it however the holder dies."""

from __future__ import annotations

import fcntl
import os
import platform
from pathlib import Path

import msgspec

from kappa.errors import AlreadyRunning
from kappa.ports.lock import Holder


class FileLock:
    """The right to run the project whose stores lie beside a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    def take(self, holder: Holder) -> None:
        assert self._descriptor is None, "this object has the lock"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            first = self._written()
            raise AlreadyRunning(holder=None if first is None else str(first)) from None
        os.ftruncate(descriptor, 0)
        # For whoever is refused.
        os.write(descriptor, msgspec.json.encode(holder))
        self._descriptor = descriptor

    def check(self) -> None:
        """An open file stays locked: there is nothing to lose."""
        assert self._descriptor is not None, "the lock was never taken"

    def holder(self) -> Holder | None:
        """Return whoever wrote the file and, as far as this machine can tell, still lives."""
        holder = self._written()
        return holder if holder is not None and _lives(holder) else None

    def _written(self) -> Holder | None:
        """Return who holds the lock, or None if nobody does or it is not written yet."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Holder)
        except (OSError, msgspec.MsgspecError):
            return None

    def close(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _lives(holder: Holder) -> bool:
    if holder.host != platform.node():
        return True  # it shares the folder, as two containers may, but not our process ids
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and belongs to somebody else
    return True
