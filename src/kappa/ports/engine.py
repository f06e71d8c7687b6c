"""The engine: keeps versions folding. It owns processes or jobs, never fold logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from kappa.ports.profiles import ProfileName
from kappa.ports.versions import Version


class OperatorLoad(msgspec.Struct, frozen=True):
    """How an operator spends its time, in ms per second; of each the most among its subtasks.

    Attributes:
        name: What the engine calls it.
        parallelism: How many subtasks it has.
        busy_ms: It works.
        idle_ms: It has nothing to do.
        backpressured_ms: It has a result, and the next operator does not take it.
        buffers_in: The part of its input's network buffers that is in use, 0 to 1; None if nobody says.
        buffers_out: The same of its output.
    """

    name: str
    parallelism: int
    busy_ms: float
    idle_ms: float
    backpressured_ms: float
    buffers_in: float | None = None
    buffers_out: float | None = None


class CheckpointLoad(msgspec.Struct, frozen=True):
    """What the last checkpoint took.

    Attributes:
        ended_at: When it was complete, aware UTC.
        duration_s: From its beginning.
        interval_s: From one to the next.
        state_bytes: The size of the state that it holds.
        written_bytes: What it had to write of that.
        growth_bytes_per_s: How fast the state has grown lately; None until two checkpoints were seen.
        waited_s: The part of its duration in which it waited for events ahead of it to be folded.
    """

    ended_at: datetime
    duration_s: float
    interval_s: float
    state_bytes: int
    written_bytes: int
    growth_bytes_per_s: float | None = None
    waited_s: float = 0.0


class JobLoad(msgspec.Struct, frozen=True):
    """Where a job's time goes.

    Attributes:
        operators: In the order of the data flow.
        checkpoint: The last one, or None before the first.
        profile: The name of the profile that it works by.
    """

    operators: Sequence[OperatorLoad]
    checkpoint: CheckpointLoad | None = None
    profile: ProfileName = "live"


class WorkerHealth(msgspec.Struct, frozen=True):
    """How one worker, a process or a job, is doing.

    Attributes:
        name: What it works on, for people: `user_profile v1 group 0`.
        table: The table of the version it works for, `user_profile__v1`; for a repartitioner the log it writes.
        state: `starting` (it does not work yet), `running`, `restarting` (it died and will be started again), `failed`
            (a restart would not help) or `stopped`.
        pid: Its process id while it runs, if it is a process of this machine.
        restarts: How often it was started again.
        detail: Why it last died, for people; empty if it never did.
        rates: partition -> records per second folded lately.
        positions: partition -> next offset to fold, not behind what is committed; empty until it works.
        load: Where its time goes, if it is a job.
    """

    name: str
    table: str
    state: str
    pid: int | None
    restarts: int
    detail: str
    rates: Mapping[int, float] = {}
    positions: Mapping[int, int] = {}
    load: JobLoad | None = None


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
        """Start folding a version from its committed progress, or go on if it is. Idempotent.

        It need not work yet when this returns.
        """

    def stop(self, version: Version) -> None:
        """Stop folding a version, committed up to where it stopped. Waits for it; idempotent.

        A worker that does not stop within the adapter's limit is killed, which costs nothing but repeated work.
        """

    def throttle(self, version: Version, share: float) -> None:
        """Let a started version work only this share of the time, 0 < share <= 1, from now on, restarts included."""

    def poll(self) -> Sequence[WorkerHealth]:
        """Look after every worker without waiting: restart what died, with backoff, and say how each one is doing."""

    def close(self) -> None:
        """Stop this process's workers, and let go of jobs, which go on and which the next engine adopts. Idempotent."""
