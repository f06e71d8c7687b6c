"""The engine: keeps versions folding. It owns processes or jobs, never fold logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from kappa.ports.versions import Version


class WorkerHealth(msgspec.Struct, frozen=True):
    """How one worker is doing.

    Attributes:
        name: What it works on, for people: `user_profile v1 group 0`.
        table: The table of the version it works for, `user_profile__v1`; for a repartitioner the log it writes.
        state: `running`, `restarting` (it died and will be started again), `failed` (a restart would not help)
            or `stopped`.
        pid: Its process id while it runs.
        restarts: How often it was started again.
        detail: Why it last died, for people; empty if it never did.
        rates: partition -> records per second folded lately.
        positions: partition -> next offset to fold, ahead of what is committed.
    """

    name: str
    table: str
    state: str
    pid: int | None
    restarts: int
    detail: str
    rates: Mapping[int, float] = {}
    positions: Mapping[int, int] = {}


class RunReport(msgspec.Struct, frozen=True):
    """What the process that runs the versions says about them, for others to read.

    Attributes:
        pid: That process.
        at: When, aware UTC. It reports at least every second: an older report is from a process that is gone.
        workers: One entry per worker.
        shares: Table name -> share of its speed, 0 < share <= 1, of every version that is throttled.
    """

    pid: int
    at: datetime
    workers: Sequence[WorkerHealth]
    shares: Mapping[str, float] = {}


class Engine(Protocol):
    """Runs versions. Nothing happens by itself: the caller calls `poll` often, which restarts what has died."""

    def start(self, version: Version) -> None:
        """Start folding a version from its committed progress, or go on if it is. Idempotent."""

    def stop(self, version: Version) -> None:
        """Stop folding a version, committed up to where it stopped. Waits for it; idempotent.

        A worker that does not stop within the adapter's limit is killed, which costs nothing but repeated work.
        """

    def throttle(self, version: Version, share: float) -> None:
        """Let a started version work only this share of the time, 0 < share <= 1, from now on, restarts included."""

    def poll(self) -> Sequence[WorkerHealth]:
        """Look after every worker without waiting: restart what died, with backoff, and say how each one is doing."""

    def close(self) -> None:
        """Stop everything. Idempotent."""
