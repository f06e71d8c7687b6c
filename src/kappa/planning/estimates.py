"""Say how much a replay will read and how long it will take, before it begins. Pure: others measure the rates.

Once a replay runs, `catch_up.Estimator` knows better.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kappa.model.schema import ViewTable
from kappa.planning.catch_up import advice, catch_up_s, slowest
from kappa.planning.plans import Estimate

# A worker process starts, imports the code and opens its files before it reads its first event.
START_S = 1.0


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


def estimate_replay(log: LogFacts, table: ViewTable, *, worker_rate: float, cores: int, workers: int) -> Estimate:
    """Return how much a full replay reads and how long it takes.

    Args:
        log: What it reads.
        table: Which partition groups it has: the largest of them is what takes longest.
        worker_rate: Records per second that one worker folds and commits with a core of its own.
        cores: Of this machine.
        workers: How many replay at the same time, those of other views included: they share the cores.
    """
    share = min(1.0, cores / workers)
    rates = [worker_rate * share] * table.group_count
    groups = [0] * table.group_count
    for partition, end in log.ends.items():
        groups[table.group_of(partition)] += end - log.starts.get(partition, 0)
    total = sum(groups)
    seconds = slowest(
        catch_up_s(lag, replay_rate=rate, arrival_rate=log.arrival_rate * lag / total if total else 0.0)
        for lag, rate in zip(groups, rates, strict=True)
    )
    help_wanted = seconds is None or seconds > _LONG_S
    return Estimate(
        events=total,
        exact=log.exact,
        size_bytes=log.size_bytes,
        replay_rate=sum(rates),
        arrival_rate=log.arrival_rate,
        seconds=None if seconds is None else START_S + seconds,
        advice=advice(
            total,
            worker_rate=worker_rate,
            workers=table.group_count,
            workers_max=max(table.group_count, min(table.partition_count, cores)),
            arrival_rate=log.arrival_rate,
        )
        if help_wanted
        else "",
    )


# Nobody changes settings for a replay that is done sooner.
_LONG_S = 60.0
