"""The project lock: one process at a time runs a project's versions, and whoever is refused learns which one does.

It keeps two runs from stopping each other's workers for ever. What keeps rows right is not the lock but the epoch.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class Holder(msgspec.Struct, frozen=True):
    """Who runs a project.

    Attributes:
        host: The name of the machine; a long one may be cut.
        pid: The process on it.
        since: When it began to, aware UTC, in whole seconds.
    """

    host: str
    pid: int
    since: datetime

    def __str__(self) -> str:
        """Return it for people.

        >>> from datetime import UTC
        >>> str(Holder("db-1", 4711, datetime(2026, 3, 1, 12, tzinfo=UTC)))
        'process 4711 on db-1, since 2026-03-01 12:00:00 UTC'
        """
        return f"process {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class ProjectLock(Protocol):
    """The right to run a project. One object serves one process, and takes the lock once at a time.

    It is free as soon as its holder ends, however that dies. Where that is for a server to notice and the holder's
    machine has vanished, it takes the server up to half a minute.
    """

    def take(self, holder: Holder) -> None:
        """Take the lock, without waiting for it.

        Raises:
            AlreadyRunning: Another process has it.
            StoreUnavailable: Retry.
        """

    def check(self) -> None:
        """See that the lock is still held, and take it again if it was lost and is free.

        Raises:
            TakenOver: It was lost, and another process has it. Final.
            StoreUnavailable: Nobody can tell now. Retry.
        """

    def holder(self) -> Holder | None:
        """Return who has the lock, or None. For people to read: only taking it is certain.

        Raises:
            StoreUnavailable: Retry.
        """

    def close(self) -> None:
        """Give the lock back if it is held, and release connections. Idempotent."""
