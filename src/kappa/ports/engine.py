"""The engine: keeps versions folding. It owns processes or jobs, never fold logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from kappa.ports.control import Version


class WorkerHealth(msgspec.Struct, frozen=True):
    """How one worker is doing.

    Attributes:
        name: What it works on, for example `user_profile v1 group 0`.
        state: `running`, `restarting` (it died and will be started again), `failed` (a restart would not help)
            or `stopped`.
        pid: Its process id while it runs.
        restarts: How often it was started again.
        detail: Why it last died, for people; empty if it never did.
        rates: partition -> records per second folded lately.
        positions: partition -> next offset to fold, ahead of what is committed.
    """

    name: str
    state: str
    pid: int | None
    restarts: int
    detail: str
    rates: Mapping[int, float] = {}
    positions: Mapping[int, int] = {}


class Engine(Protocol):
    """Runs versions. Nothing happens by itself: the caller calls `poll` often, which restarts what has died."""

    def start(self, version: Version) -> None:
        """Start folding a version from its committed progress. Idempotent."""

    def stop(self, version: Version) -> None:
        """Stop folding a version, committed up to where it stopped. Waits for it; idempotent.

        A worker that does not stop within the adapter's limit is killed, which costs nothing but repeated work.
        """

    def poll(self) -> Sequence[WorkerHealth]:
        """Look after every worker without waiting: restart what died, with backoff, and say how each one is doing."""

    def close(self) -> None:
        """Stop everything. Idempotent."""
