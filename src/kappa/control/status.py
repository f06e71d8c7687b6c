"""Say how a project is doing: what its logs hold, and how far each running version is. Reads, and changes nothing.

Positions are read before the logs' ends, so that lag is never negative, and what is committed counts, not what a
worker has in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from kappa.control.hot_keys import find_hot_key
from kappa.control.positions import behind_primary, lag_of, position_of
from kappa.control.running import not_at_work
from kappa.model.records import Position
from kappa.planning.backpressure import Level, Verdict, judge, level_of, most_behind
from kappa.planning.states import VersionState, state_of
from kappa.ports import ControlStore, Holder, Log, Release, Version, ViewStore
from kappa.ports.engine import JobLoad


class LogStatus(msgspec.Struct, frozen=True):
    """What a log holds.

    Attributes:
        events: Records, of all partitions.
        exact: Whether there are just so many, or a few less: see `Log.has_gaps`.
        size_bytes: The space it takes.
    """

    name: str
    partitions: int
    events: int
    exact: bool
    size_bytes: int


class PartitionStatus(msgspec.Struct, frozen=True):
    """How far a version has folded one partition.

    Attributes:
        position: The next offset to fold.
        end: One past the log's last offset.
        lag: Records between them.
        rate: Records folded per second since the status before, or None without one.
    """

    partition: int
    position: int
    end: int
    lag: int
    rate: float | None = None


class JobStatus(msgspec.Struct, frozen=True):
    """Where the time of a version's job goes.

    Attributes:
        load: What was measured.
        levels: Of each operator, how much it waits for the next one.
        verdict: What follows from it.
    """

    load: JobLoad
    levels: Sequence[Level]
    verdict: Verdict


class VersionStatus(msgspec.Struct, frozen=True):
    """How a version is doing.

    Attributes:
        state: See `planning.states`.
        lag: Sum over its partitions; for a repartitioned log also the records not copied into it yet. 0 once stopped.
        rate: Sum over its partitions.
        job: Where its time goes, if it runs as a job.
    """

    view: str
    version: int
    state: VersionState
    log: str
    lag: int
    rate: float | None
    rows: int
    dead_letters: int
    size_bytes: int
    partitions: Sequence[PartitionStatus]
    job: JobStatus | None = None


class Status(msgspec.Struct, frozen=True):
    """How a project is doing.

    Attributes:
        taken_at: When this was read, aware UTC.
        running_in: Who runs the versions, or None.
        versions: Those that are not stopped for good.
        not_at_work: Workers that do not work yet, or any more, and why: a sentence each.
        rejected: Pieces of input that could not be ingested.
        lag: Of the primaries, in records.
    """

    project: str
    taken_at: datetime
    running_in: Holder | None
    logs: Sequence[LogStatus]
    versions: Sequence[VersionStatus]
    not_at_work: Sequence[str]
    rejected: int
    lag: int


def read_status(
    project: str,
    *,
    logs: Mapping[str, Log],
    views: ViewStore,
    control: ControlStore,
    now: datetime,
    running_in: Holder | None,
) -> Status:
    """Read how a project is doing. `logs` are those that exist; `running_in` and `now` are as in `Status`."""
    # Counting rows takes its time, so those of versions that are stopped for good are left to `kappa versions`.
    running = [version for version in control.versions() if version.retired_at is None]
    report = None if running_in is None else control.last_report()
    workers = () if report is None else report.workers
    loads = {worker.table: worker.load for worker in workers if worker.load is not None}
    versions = [
        _with_job(version, loads.get(table.name), logs.get(table.log))
        for version, table in zip(
            read_versions(running, control.release(), logs=logs, views=views),
            (version.table for version in running),
            strict=True,
        )
    ]
    return Status(
        project=project,
        taken_at=now,
        running_in=running_in,
        logs=[_log(log) for log in logs.values()],
        versions=versions,
        not_at_work=not_at_work(workers),
        rejected=control.rejected_count(),
        lag=sum(version.lag for version in versions if version.state is VersionState.PRIMARY),
    )


def read_versions(
    versions: Sequence[Version], release: Release, *, logs: Mapping[str, Log], views: ViewStore
) -> list[VersionStatus]:
    """Return how versions are doing, the primaries of their views among them. `logs` are those that exist."""
    positions = {version.table.name: position_of(version.table, views) for version in versions}
    primaries = {
        version.table.view: version
        for version in versions
        if release.primaries.get(version.table.view) == version.table.version
    }

    def state(version: Version) -> VersionState:
        behind = behind_primary(version, primaries.get(version.table.view), positions, logs)
        return state_of(version, release, position=positions[version.table.name], behind=behind)

    return [_version(version, state(version), positions[version.table.name], logs, views) for version in versions]


def with_rates(status: Status, before: Status) -> Status:
    """Return `status` with the rates at which versions have moved since `before`."""
    elapsed_s = (status.taken_at - before.taken_at).total_seconds()
    if elapsed_s <= 0:
        return status
    positions = {
        (version.view, version.version, each.partition): each.position
        for version in before.versions
        for each in version.partitions
    }

    def rated(version: VersionStatus) -> VersionStatus:
        partitions = [
            msgspec.structs.replace(each, rate=(each.position - positions[place]) / elapsed_s)
            if (place := (version.view, version.version, each.partition)) in positions
            else each
            for each in version.partitions
        ]
        rates = [each.rate for each in partitions if each.rate is not None]
        return msgspec.structs.replace(version, partitions=partitions, rate=sum(rates) if rates else None)

    return msgspec.structs.replace(status, versions=[rated(version) for version in status.versions])


def _with_job(version: VersionStatus, load: JobLoad | None, log: Log | None) -> VersionStatus:
    if load is None:
        return version
    lags = {each.partition: each.lag for each in version.partitions}
    hot_key = None
    if log is not None and (partition := most_behind(lags)) is not None:
        start = next(each.position for each in version.partitions if each.partition == partition)
        hot_key = find_hot_key(log, partition, start)
    verdict = judge(load, lags, hot_key)
    job = JobStatus(load, [level_of(operator) for operator in load.operators], verdict)
    return msgspec.structs.replace(version, job=job)


def _log(log: Log) -> LogStatus:
    starts, ends = log.starts(), log.ends()
    return LogStatus(
        name=log.name,
        partitions=log.partition_count,
        events=sum(ends[partition] - starts[partition] for partition in ends),
        exact=not log.has_gaps,
        size_bytes=log.size_bytes(),
    )


def _version(
    version: Version, state: VersionState, position: Position, logs: Mapping[str, Log], views: ViewStore
) -> VersionStatus:
    table = version.table
    ends = logs[table.log].ends() if table.log in logs else dict.fromkeys(position, 0)
    return VersionStatus(
        view=table.view,
        version=table.version,
        state=state,
        log=table.log,
        lag=0 if state.stopped else lag_of(table, position, logs),
        rate=None,
        rows=views.row_count(table),
        dead_letters=views.dead_letter_count(table),
        size_bytes=views.size_bytes(table),
        partitions=[
            PartitionStatus(partition, offset, ends[partition], max(0, ends[partition] - offset))
            for partition, offset in sorted(position.items())
        ],
    )
