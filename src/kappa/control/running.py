"""Run a project's versions: start them, follow them, switch to candidates that have caught up.

It reads positions and asks the engine; it shows nothing and waits for nothing. The caller polls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from kappa.control.versions import RunPlan, switch_to
from kappa.errors import WorkerFailed
from kappa.model.records import Position, lag
from kappa.ports import ControlStore, Engine, Log, Version, ViewStore, WorkerHealth
from kappa.ports.log import EVENT_LOG, copied_up_to


class VersionProgress(msgspec.Struct, frozen=True):
    """How far one version is.

    Attributes:
        view, version: Which one.
        position: Committed records, summed over partitions.
        end: Records in its log, summed over partitions.
        lag: Records between them; for a repartitioned log also those not copied into it yet.
        rate: Records per second folded lately.
        candidate: Whether it becomes primary when it has caught up.
    """

    view: str
    version: int
    position: int
    end: int
    lag: int
    rate: float
    candidate: bool


class RunStatus(msgspec.Struct, frozen=True):
    """How a run is doing.

    Attributes:
        versions: One entry per running version.
        workers: One entry per worker process.
        promoted: Versions that became primary since the last status.
    """

    versions: tuple[VersionProgress, ...]
    workers: tuple[WorkerHealth, ...]
    promoted: tuple[Version, ...] = ()

    @property
    def caught_up(self) -> bool:
        """Whether every version has folded everything that was in the logs when this was measured."""
        return all(version.lag == 0 for version in self.versions)

    @property
    def failed(self) -> tuple[WorkerHealth, ...]:
        """The workers that a restart would not help."""
        return tuple(worker for worker in self.workers if worker.state == "failed")


class Run:
    """The versions of a project while their engine runs them."""

    def __init__(
        self,
        plan: RunPlan,
        *,
        engine: Engine,
        control: ControlStore,
        store: ViewStore,
        open_log: Callable[[str], Log],
    ) -> None:
        """Prepare to run `plan`; `open_log` opens a log by name, which this closes."""
        self._plan, self._engine, self._control, self._store = plan, engine, control, store
        names = {EVENT_LOG, *(version.table.log for version in plan.versions)}
        self._logs: dict[str, Log] = {name: open_log(name) for name in sorted(names)}
        self._candidates = list(plan.candidates)

    def start(self) -> None:
        """Start all versions."""
        for version in self._plan.versions:
            self._engine.start(version)

    def poll(self) -> RunStatus:
        """Look after the workers, make candidates primary that have caught up, and say how far everything is.

        All candidates switch together, so that no reader sees a mixture of old and new code.
        """
        workers = tuple(self._engine.poll())
        # The source's ends are read before any position: what is appended meanwhile belongs to the next poll.
        ends = {name: self._logs[name].ends() for name in sorted(self._logs, key=lambda name: name != EVENT_LOG)}
        versions = tuple(self._progress(version, ends, workers) for version in self._plan.versions)
        promoted: tuple[Version, ...] = ()
        waiting = [progress for progress in versions if progress.candidate]
        if waiting and all(progress.lag == 0 for progress in waiting):
            promoted = tuple(self._candidates)
            switch_to(promoted, control=self._control)
            self._candidates.clear()
        return RunStatus(versions, workers, promoted)

    def close(self) -> None:
        """Stop the workers, each committed up to where it stopped. Idempotent."""
        self._engine.close()
        for log in self._logs.values():
            log.close()

    def _progress(
        self, version: Version, ends: Mapping[str, Position], workers: Sequence[WorkerHealth]
    ) -> VersionProgress:
        table = version.table
        uncopied = 0
        if table.log != EVENT_LOG:
            uncopied = lag(copied_up_to(self._logs[EVENT_LOG], self._logs[table.log]), ends[EVENT_LOG])
            # Read again: records may have been copied since, and must not be missed.
            ends = {**ends, table.log: self._logs[table.log].ends()}
        position = {partition: progress.next_offset for partition, progress in self._store.progress(table).items()}
        prefix = f"{table.view} v{table.version} "
        rate = sum(sum(worker.rates.values()) for worker in workers if worker.name.startswith(prefix))
        return VersionProgress(
            view=table.view,
            version=table.version,
            position=sum(position.values()),
            end=sum(ends[table.log].values()),
            lag=lag(position, ends[table.log]) + uncopied,
            rate=rate,
            candidate=any(candidate.table.name == table.name for candidate in self._candidates),
        )


def refuse_failed(status: RunStatus) -> None:
    """Raise if a worker has failed for good.

    Raises:
        WorkerFailed: With what the first of them said.
    """
    for worker in status.failed:
        raise WorkerFailed(f"{worker.name} failed: {worker.detail}", next_step="mend the cause, then run again")
