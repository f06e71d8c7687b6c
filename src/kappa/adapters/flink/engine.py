"""The Flink engine: a job per version in a Flink cluster, which restarts what dies there.

It submits jobs, adopts those that run already, and reads how they do. It never folds, and what its jobs write is fenced
by epoch. Jobs outlive the process that this runs in: `close` lets go of them, and the next engine goes on with them.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from kappa.adapters.flink.job import REPLAY_SUFFIX, Cluster, VersionJob, job_name
from kappa.adapters.flink.load import LoadMeter
from kappa.adapters.flink.rest import Job
from kappa.errors import KappaError, StoreUnavailable
from kappa.ports import ControlStore, Engine, RunReport, Version, ViewStore, WorkerHealth

# The cluster is asked so often, however often somebody polls.
LOOK_INTERVAL_S = 0.5
# A version may be retired while no engine runs.
_TIDY_INTERVAL_S = 60.0
# Commits come in steps of up to some seconds; a rate over less would jump.
_RATE_WINDOW_S = 10.0


class FlinkEngine:
    """Runs versions as jobs of a Flink cluster.

    Use: `start` versions, call `poll` a few times a second, `close`.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        project: str,
        store: ViewStore,
        control: ControlStore,
        repartitioning: Engine,
    ) -> None:
        """Prepare to run jobs; nothing is asked yet.

        Args:
            cluster: Where they run.
            project: The project's name, which is in the jobs' names.
            store: Where jobs commit their progress.
            control: Where jobs read how fast they may work.
            repartitioning: Runs what versions need besides their jobs, here: what writes repartitioned logs.
        """
        self._cluster, self._project = cluster, project
        self._store, self._control, self._repartitioning = store, control, repartitioning
        self._jobs: dict[str, _Watched] = {}
        # Those that could not be stopped yet.
        self._unwanted: dict[str, VersionJob] = {}
        self._shares: dict[str, float] = {}
        self._looked_at = self._tidied_at = float("-inf")
        self._trouble = ""

    def start(self, version: Version) -> None:
        """Start folding a version: go on with its job if there is one. The cluster is asked by the next `poll`."""
        table = version.table
        if table.name not in self._jobs:
            job = VersionJob(version, project=self._project, cluster=self._cluster)
            self._jobs[table.name] = _Watched(job, self._store, LoadMeter(self._cluster.rest))
            self._unwanted.pop(table.name, None)
            self._looked_at = float("-inf")
        self._repartitioning.start(version)

    def stop(self, version: Version) -> None:
        """End a version's job. Idempotent. If the cluster does not answer, `poll` tries again."""
        name = version.table.name
        self._shares.pop(name, None)
        watched = self._jobs.pop(name, None)
        if watched is not None:
            self._unwanted[name] = watched.job
            self._stop_unwanted()
        self._repartitioning.stop(version)

    def throttle(self, version: Version, share: float) -> None:
        """Let a version's job work only this share of the time; it reads that from the run report."""
        self._shares[version.table.name] = share
        shares = {name: each for name, each in self._shares.items() if each < 1}
        self._control.report(RunReport(os.getpid(), datetime.now(UTC), self.poll(), shares))

    def poll(self) -> Sequence[WorkerHealth]:
        """Ask the cluster how the jobs do, submit what is due, and say how every job and repartitioner is doing."""
        if time.monotonic() - self._looked_at >= LOOK_INTERVAL_S:
            self._look()
            self._looked_at = time.monotonic()
        healths = [watched.health(self._trouble) for watched in self._jobs.values()]
        return [*healths, *self._repartitioning.poll()]

    def close(self) -> None:
        """Let go: jobs go on in the cluster, and the next engine adopts them. Idempotent."""
        for watched in self._jobs.values():
            watched.job.detach()
        self._jobs.clear()
        self._unwanted.clear()
        self._repartitioning.close()

    def _look(self) -> None:
        self._stop_unwanted()
        if not self._jobs:
            return
        try:
            jobs = self._cluster.rest.jobs()
            if time.monotonic() - self._tidied_at >= _TIDY_INTERVAL_S:
                self._tidy(jobs)
                self._tidied_at = time.monotonic()
        except StoreUnavailable as error:
            self._trouble = _told(error)
            return
        self._trouble = ""
        for watched in self._jobs.values():
            watched.look(jobs)

    def _tidy(self, jobs: Sequence[Job]) -> None:
        """End the jobs of versions that were retired while no engine ran, and delete the savepoints of retired ones."""
        cluster = self._cluster
        retired = {
            job_name(self._project, version.table.name): version
            for version in self._control.versions()
            if version.retired_at is not None
        }
        for job in jobs:
            if not job.ended and (version := retired.get(job.name.removesuffix(REPLAY_SUFFIX))) is not None:
                self._unwanted[version.table.name] = VersionJob(version, project=self._project, cluster=cluster)
        self._stop_unwanted()
        noted = set(cluster.notes.tables())
        for name, version in retired.items():
            table = version.table.name
            if table in noted and (location := cluster.notes.find(table, job=name)):
                cluster.rest.dispose(location)
                cluster.notes.forget(table)

    def _stop_unwanted(self) -> None:
        for name, job in list(self._unwanted.items()):
            try:
                job.stop()
            except StoreUnavailable:
                continue
            del self._unwanted[name]


class _Watched:
    """A job, with what is measured of it."""

    def __init__(self, job: VersionJob, store: ViewStore, meter: LoadMeter) -> None:
        self.job = job
        self._store, self._meter = store, meter
        self._samples: deque[tuple[float, Mapping[int, int]]] = deque()
        self._trouble = ""

    def look(self, jobs: Sequence[Job]) -> None:
        self._trouble = ""
        try:
            self.job.look(jobs)
            if self.job.state == "running" and self.job.job_id is not None:
                self._sample()
                self._meter.measure(self.job.job_id, profile=self.job.profile.name)
            else:
                self._samples.clear()
        except KappaError as error:
            self._trouble = _told(error)

    def health(self, trouble: str) -> WorkerHealth:
        job, table = self.job, self.job.version.table
        running = job.state == "running"
        return WorkerHealth(
            name=f"{table.view} v{table.version}",
            table=table.name,
            state=job.state,
            pid=None,
            restarts=job.restarts,
            detail=trouble or self._trouble or job.detail,
            rates=self._rates(),
            positions=self._samples[-1][1] if self._samples else {},
            load=self._meter.load if running else None,
        )

    def _sample(self) -> None:
        progress = self._store.progress(self.job.version.table)
        now = time.monotonic()
        self._samples.append((now, {partition: entry.next_offset for partition, entry in progress.items()}))
        while now - self._samples[0][0] > _RATE_WINDOW_S:
            self._samples.popleft()

    def _rates(self) -> Mapping[int, float]:
        if len(self._samples) < 2:  # noqa: PLR2004 - a rate is between two
            return {}
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return {partition: round((at - first[partition]) / (ended - began), 1) for partition, at in last.items()}


def _told(error: KappaError) -> str:
    hint = f"; next: {error.next_step}" if error.next_step else ""
    return error.message + hint
