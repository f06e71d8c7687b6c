"""A process that is gone at a chosen moment, without a process."""

from __future__ import annotations

from typing import Any

from kappa.ports import ControlStore, Log


class Crashes(BaseException):
    """The process is gone."""


class CrashingLog:
    """A log that is killed at its n-th append, before or after it has committed."""

    def __init__(self, log: Log, *, at: int, committed: bool) -> None:
        self.log, self.left, self.committed = log, at, committed

    def append(self, *args: Any, **options: Any) -> None:
        self.left -= 1
        if self.left == 0 and not self.committed:
            raise Crashes
        self.log.append(*args, **options)
        if self.left == 0:
            raise Crashes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


class CrashingControl:
    """A control store that is killed when it is to forget rejected input."""

    def __init__(self, control: ControlStore) -> None:
        self.control = control

    def accept(self, source: str, place: int) -> None:
        raise Crashes(source, place)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.control, name)
