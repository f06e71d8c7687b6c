"""Say how much a replay will read and how long it will take, before it begins. Pure: others measure the rates.

Once a replay runs, `catch_up.Estimator` knows better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kappa.model.schema import ViewTable
from kappa.planning.catch_up import advice, catch_up_s, slowest
from kappa.planning.plans import Estimate
from kappa.ports.profiles import Profile

# A worker process starts, imports the code and opens its files before it reads its first event. A job is submitted.
_PROCESS_START_S, _JOB_START_S = 1.0, 15.0


class LogFacts(msgspec.Struct, frozen=True):
    """What is known of the log that a view reads.

    Attributes:
        name: Its name.
        starts: partition -> first offset that it still holds.
        ends: partition -> one past its last offset. Of a repartitioned log, records not copied yet included.
        size_bytes: The space that it takes.
        arrival_rate: Records per second appended lately.
        exact: Whether each offset is a record: see `Log.has_gaps`.
    """

    name: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]
    size_bytes: int
    arrival_rate: float
    exact: bool = True

    @property
    def events(self) -> int:
        """How many records it holds."""
        return sum(end - self.starts.get(partition, 0) for partition, end in self.ends.items())

    @property
    def lost(self) -> dict[int, int]:
        """Partition -> how many offsets at its start can no longer be read; only those where some are lost."""
        return {partition: start for partition, start in sorted(self.starts.items()) if start > 0}


class Workers(msgspec.Struct, frozen=True):
    """What would replay a view: worker processes of this machine, or the subtasks of a job.

    Attributes:
        lags: The records that each has to fold.
        core: The part of a core that each has.
        most: How many there could be.
        setting: What changes their number.
        start_s: How long it takes until they read their first event.
    """

    lags: Sequence[int]
    core: float
    most: int
    setting: str
    start_s: float


def processes(log: LogFacts, table: ViewTable, *, cores: int, running: int) -> Workers:
    """Return the worker processes of a version.

    Args:
        log: What it reads.
        table: Which partition groups it has: a process each.
        cores: Of this machine.
        running: How many replay at the same time, those of other views included: they share the cores.
    """
    most = max(table.group_count, min(table.partition_count, cores))
    return Workers(_lags(log, table), min(1.0, cores / running), most, "engine.workers", _PROCESS_START_S)


def subtasks(log: LogFacts, table: ViewTable, profile: Profile) -> Workers:
    """Return the subtasks of a version's job, each of which is taken to have a core, as a TaskManager should."""
    spread = msgspec.structs.replace(table, group_count=profile.parallelism)
    setting = f"flink.{profile.name}.parallelism"
    return Workers(_lags(log, spread), 1.0, table.partition_count, setting, _JOB_START_S)


def estimate_replay(log: LogFacts, workers: Workers, *, worker_rate: float) -> Estimate:
    """Return how much a full replay reads and how long it takes: as long as the worker takes that has most to do.

    Args:
        log: What it reads.
        workers: What reads it.
        worker_rate: Records per second that one worker folds and commits with a core of its own.
    """
    rate, total = worker_rate * workers.core, sum(workers.lags)
    seconds = slowest(
        catch_up_s(lag, replay_rate=rate, arrival_rate=log.arrival_rate * lag / total if total else 0.0)
        for lag in workers.lags
    )
    help_wanted = seconds is None or seconds > _LONG_S
    return Estimate(
        events=total,
        exact=log.exact,
        size_bytes=log.size_bytes,
        replay_rate=rate * len(workers.lags),
        arrival_rate=log.arrival_rate,
        seconds=None if seconds is None else workers.start_s + seconds,
        advice=advice(
            total,
            worker_rate=worker_rate,
            workers=len(workers.lags),
            workers_max=workers.most,
            arrival_rate=log.arrival_rate,
            setting=workers.setting,
        )
        if help_wanted
        else "",
    )


def _lags(log: LogFacts, table: ViewTable) -> list[int]:
    groups = [0] * table.group_count
    for partition, end in log.ends.items():
        groups[table.group_of(partition)] += end - log.starts.get(partition, 0)
    return groups


# Nobody changes settings for a replay that is done sooner.
_LONG_S = 60.0
