"""Say how a project is doing: what its logs hold, and how far each version has come. Reads, and changes nothing.

Positions are read before the logs' ends, so that lag is never negative, and what is committed counts, not what a
worker has in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from kappa.model.records import lag
from kappa.ports import ControlStore, Log, Version, ViewStore
from kappa.ports.log import EVENT_LOG, copied_up_to


class LogStatus(msgspec.Struct, frozen=True):
    """What a log holds.

    Attributes:
        events: Records, of all partitions.
        size_bytes: The space it takes.
    """

    name: str
    partitions: int
    events: int
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


class VersionStatus(msgspec.Struct, frozen=True):
    """How a version is doing.

    Attributes:
        state: `primary`, `replaying`, `caught-up` or `retired`.
        lag: Sum over its partitions; for a repartitioned log also the records not copied into it yet.
        rate: Sum over its partitions.
    """

    view: str
    version: int
    state: str
    log: str
    lag: int
    rate: float | None
    rows: int
    dead_letters: int
    size_bytes: int
    partitions: Sequence[PartitionStatus]


class Status(msgspec.Struct, frozen=True):
    """How a project is doing.

    Attributes:
        taken_at: When this was read, aware UTC.
        running_in: The process that runs the versions, or None.
        rejected: Pieces of input that could not be ingested.
        lag: Of the primaries, in records.
    """

    project: str
    taken_at: datetime
    running_in: int | None
    logs: Sequence[LogStatus]
    versions: Sequence[VersionStatus]
    rejected: int
    lag: int


def read_status(
    project: str,
    *,
    logs: Mapping[str, Log],
    views: ViewStore,
    control: ControlStore,
    now: datetime,
    running_in: int | None,
) -> Status:
    """Read how a project is doing. `logs` are those that exist; `running_in` and `now` are as in `Status`."""
    primaries = control.release().primaries
    versions = [
        _version(version, primary=primaries.get(version.table.view) == version.table.version, logs=logs, views=views)
        for version in control.versions()
    ]
    return Status(
        project=project,
        taken_at=now,
        running_in=running_in,
        logs=[_log(log) for log in logs.values()],
        versions=versions,
        rejected=control.rejected_count(),
        lag=sum(version.lag for version in versions if version.state == "primary"),
    )


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


def _log(log: Log) -> LogStatus:
    starts, ends = log.starts(), log.ends()
    return LogStatus(
        name=log.name,
        partitions=log.partition_count,
        events=sum(ends[partition] - starts[partition] for partition in ends),
        size_bytes=log.size_bytes(),
    )


def _version(version: Version, *, primary: bool, logs: Mapping[str, Log], views: ViewStore) -> VersionStatus:
    table = version.table
    positions = {partition: progress.next_offset for partition, progress in views.progress(table).items()}
    ends = logs[table.log].ends() if table.log in logs else dict.fromkeys(positions, 0)
    partitions = [
        PartitionStatus(partition, position, ends[partition], max(0, ends[partition] - position))
        for partition, position in sorted(positions.items())
    ]
    behind = lag(positions, ends) + _uncopied(table.log, logs)
    return VersionStatus(
        view=table.view,
        version=table.version,
        state=_state(version, primary=primary, behind=behind),
        log=table.log,
        lag=0 if version.retired_at else behind,
        rate=None,
        rows=views.row_count(table),
        dead_letters=views.dead_letter_count(table),
        size_bytes=views.size_bytes(table),
        partitions=partitions,
    )


def _uncopied(log: str, logs: Mapping[str, Log]) -> int:
    """Return how many records of the event log a repartitioned one, which may not exist yet, does not hold yet."""
    if log == EVENT_LOG or EVENT_LOG not in logs:
        return 0
    copied = copied_up_to(logs[EVENT_LOG], logs[log]) if log in logs else {}
    return lag(copied, logs[EVENT_LOG].ends())


def _state(version: Version, *, primary: bool, behind: int) -> str:
    if version.retired_at is not None:
        return "retired"
    if primary:
        return "primary"
    return "replaying" if behind else "caught-up"
