"""Run a project's versions: start what is deployed, stop what is retired, pace candidates, and say how all of it is.

On each poll it brings what runs into line with the control store, so whoever changes that need not talk to it. A
candidate that fails stops nobody else. It shows nothing and waits for nothing: the caller polls.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from kappa.control.positions import OpenLog
from kappa.control.progress import Measurement, VersionProgress
from kappa.errors import StoreUnavailable, WorkerFailed
from kappa.planning.states import VersionState
from kappa.planning.throttle import next_share
from kappa.ports import ControlStore, Engine, Log, RunReport, Version, ViewStore, WorkerHealth

REPORT_INTERVAL_S = 0.3
THROTTLE_INTERVAL_S = 1.0
HOUSEKEEPING_INTERVAL_S = 3_600.0
LOGS_INTERVAL_S = 60.0
# They have work to do, and nobody reads them yet.
_THROTTLED = {VersionState.DEPLOYED, VersionState.REPLAYING}


class RunStatus(msgspec.Struct, frozen=True):
    """How a run is doing.

    Attributes:
        versions: One entry per running version.
        workers: One entry per worker process.
    """

    versions: tuple[VersionProgress, ...]
    workers: tuple[WorkerHealth, ...]

    @property
    def caught_up(self) -> bool:
        """Whether every version that can has folded everything that was in the logs when this was measured."""
        return all(version.lag == 0 or version.failure for version in self.versions)


class Run:
    """The versions of a project while their engine runs them.

    Attributes:
        notes: What people should know about the project's code, a sentence each.
        report: What this process says to others about its workers, as of the last poll; None before the first.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        control: ControlStore,
        store: ViewStore,
        open_log: OpenLog,
        live_lag_max: int,
        housekeeping: Callable[[], object] = lambda: None,
        check_lock: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to run what is deployed.

        Args:
            engine: Runs the versions; closed with this.
            control: Says which.
            store: Where their rows are.
            open_log: Opens a log by name; closed with this.
            live_lag_max: What primaries may lag before candidates give way, in records.
            housekeeping: Deletes what nobody needs any more; called by the first poll, and then every hour.
            check_lock: Sees that this process is still the one that runs the project; called by each poll.
            clock: In seconds.
        """
        self.notes: Sequence[str] = ()
        self.report: RunReport | None = None
        self._engine, self._control, self._store, self._open_log = engine, control, store, open_log
        self._live_lag_max, self._housekeeping, self._clock = live_lag_max, housekeeping, clock
        self._check_lock = check_lock
        self._logs: dict[str, Log] = {}
        self._running: dict[str, Version] = {}
        self._shares: dict[str, float] = {}
        self._reported_at = self._paced_at = self._tidied_at = -math.inf
        self._logs_checked_at = clock()

    def poll(self) -> RunStatus:
        """Bring what runs into line with what is deployed, look after the workers, and say how far everything is.

        Raises:
            TakenOver: Another process runs them now.
            ProjectError: A log is no longer what it was, such as a topic that has grown.
            StoreUnavailable: A store cannot be read now.
        """
        self._check_lock()
        self._check_logs()
        self._reconcile()
        workers = tuple(self._engine.poll())
        running = sorted(self._running.values(), key=lambda version: (version.table.view, version.table.version))
        measured = Measurement(running, self._control.release(), workers, store=self._store, log=self._log)
        status = RunStatus(tuple(measured.versions(self._shares)), workers)
        self._pace(running, status)
        self._tell(workers)
        self._tidy()
        return status

    def close(self) -> None:
        """Stop the workers, each committed up to where it stopped. Idempotent."""
        self._engine.close()
        for log in self._logs.values():
            log.close()
        self._logs.clear()

    def _log(self, name: str) -> Log:
        if name not in self._logs:
            self._logs[name] = self._open_log(name)
        return self._logs[name]

    def _check_logs(self) -> None:
        """Open the logs anew, as whoever starts now would: what they are can change while they are read."""
        if self._clock() - self._logs_checked_at >= LOGS_INTERVAL_S:
            self._logs_checked_at = self._clock()
            for name in self._logs:
                with contextlib.suppress(StoreUnavailable):
                    self._open_log(name).close()

    def _reconcile(self) -> None:
        """Start what is missing, and stop what was retired."""
        wanted = {
            version.table.name: version
            for version in self._control.versions()
            if version.seeded and version.retired_at is None
        }
        for name in self._running.keys() - wanted.keys():
            self._engine.stop(self._running.pop(name))
            self._shares.pop(name, None)
        for name, version in wanted.items():
            # One that has no room for its table now is started by a later poll, and holds up no other.
            with contextlib.suppress(StoreUnavailable):
                if name not in self._running:
                    # Whoever deployed it may have been killed before it created the table.
                    self._store.create(version.table)
                    self._engine.start(version)
                    self._running[name] = version

    def _pace(self, running: Sequence[Version], status: RunStatus) -> None:
        """Slow candidates down while a primary has fallen behind, and let them go again."""
        if self._clock() - self._paced_at < THROTTLE_INTERVAL_S:
            return
        self._paced_at = self._clock()
        live = (progress.unfolded for progress in status.versions if progress.state is VersionState.PRIMARY)
        live_lag = max(live, default=0)
        for version, progress in zip(running, status.versions, strict=True):
            share = 1.0
            if progress.state in _THROTTLED:
                share = next_share(progress.share, live_lag=live_lag, lag_max=self._live_lag_max)
            if share != progress.share:
                self._engine.throttle(version, share)
            self._shares[version.table.name] = share

    def _tell(self, workers: Sequence[WorkerHealth]) -> None:
        """Let other processes know, a few times a second."""
        shares = {name: share for name, share in self._shares.items() if share < 1}
        self.report = RunReport(os.getpid(), datetime.now(UTC), workers, shares)
        if self._clock() - self._reported_at >= REPORT_INTERVAL_S:
            self._reported_at = self._clock()
            # What cannot be written now is out of date once it can.
            with contextlib.suppress(StoreUnavailable):
                self._control.report(self.report)

    def _tidy(self) -> None:
        if self._clock() - self._tidied_at >= HOUSEKEEPING_INTERVAL_S:
            self._tidied_at = self._clock()
            with contextlib.suppress(StoreUnavailable):
                self._housekeeping()


def not_at_work(workers: Sequence[WorkerHealth]) -> list[str]:
    """Say which workers do not work yet, or any more, and why: a sentence each, for people."""
    return [
        f"{worker.name} {worker.state}{': ' + worker.detail if worker.detail else ''}"
        for worker in workers
        if worker.state != "running"
    ]


def refuse_failed(status: RunStatus) -> None:
    """Raise if a version that people read cannot go on. Another one's failure is only shown.

    Raises:
        WorkerFailed: With what its worker said.
    """
    for version in status.versions:
        if version.state is VersionState.PRIMARY and version.failure:
            raise WorkerFailed(version.failure, next_step="mend the cause, then run again")
