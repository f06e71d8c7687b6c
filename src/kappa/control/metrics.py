"""How a project is doing, as numbers for a monitoring system: what `Status` holds, each number with a name and labels.

`METRICS` is what there is, and docs/metrics.md explains it. Nothing here knows how numbers travel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from kappa.control.status import JobStatus, Status, VersionStatus


class Measure(msgspec.Struct, frozen=True):
    """One number, at the time of the status it is from.

    Attributes:
        metric: Its name, a key of `METRICS`.
        value: In the metric's unit; times are in seconds (since 1970 if it is a point in time), shares are 0 to 1.
        labels: What it is of.
    """

    metric: str
    value: float
    labels: Mapping[str, str]


# Name -> what it says. Those without a unit in their names are counts, or 1 for what is so.
METRICS: Mapping[str, str] = {
    "kappa_status_readable": "1 if the log and the stores could be read; all else is missing if not",
    "kappa_running": "1 if a process runs the versions",
    "kappa_workers_not_at_work": "Workers, processes or jobs, that do not work yet or any more",
    "kappa_rejected_input": "Pieces of input that could not become events",
    "kappa_log_events": "Records in a log",
    "kappa_log_bytes": "Space that a log takes",
    "kappa_version_state": "1 for the state that a version is in",
    "kappa_version_lag_events": "Events that a version has not folded yet",
    "kappa_version_rows": "Rows of a version",
    "kappa_version_dead_letters": "Events that a version could not fold",
    "kappa_version_bytes": "Space that a version's rows and state take",
    "kappa_partition_position": "The next offset of a partition that a version folds; its rate is the version's speed",
    "kappa_partition_lag_events": "Events of a partition that a version has not folded yet",
    "kappa_job_backpressure": "1 for the highest level, ok, low or high, at which an operator of a job waits",
    "kappa_operator_subtasks": "Subtasks of an operator",
    "kappa_operator_busy_ratio": "The part of its time that an operator works; the busiest subtask",
    "kappa_operator_idle_ratio": "The part of its time that an operator has nothing to do; the idlest subtask",
    "kappa_operator_backpressured_ratio": "The part of its time that an operator waits for the next one",
    "kappa_operator_input_buffers_ratio": "The part of an operator's input buffers that is in use",
    "kappa_operator_output_buffers_ratio": "The part of an operator's output buffers that is in use",
    "kappa_operator_holds_up": "1 for the operator that the others of its job wait for",
    "kappa_checkpoint_timestamp_seconds": "When a job's last checkpoint was complete",
    "kappa_checkpoint_duration_seconds": "What a job's last checkpoint took",
    "kappa_checkpoint_waited_seconds": "The part of that in which it waited for events ahead of it",
    "kappa_checkpoint_interval_seconds": "The time from the beginning of a job's checkpoint to that of the next",
    "kappa_checkpoint_state_bytes": "The state that a job's last checkpoint holds",
    "kappa_checkpoint_written_bytes": "What a job's last checkpoint had to write",
}


def measure(status: Status) -> Iterator[Measure]:
    """Yield each number of a status."""

    def of_all(metric: str, value: float, **labels: str) -> Measure:
        return Measure(f"kappa_{metric}", value, labels)

    yield of_all("status_readable", 1)
    yield of_all("running", int(status.running_in is not None))
    yield of_all("workers_not_at_work", len(status.not_at_work))
    yield of_all("rejected_input", status.rejected)
    for log in status.logs:
        yield of_all("log_events", log.events, log=log.name)
        yield of_all("log_bytes", log.size_bytes, log=log.name)
    for version in status.versions:
        yield from _of_version(version)


def _of_version(version: VersionStatus) -> Iterator[Measure]:
    own = {"view": version.view, "version": f"v{version.version}"}
    yield Measure("kappa_version_state", 1, {**own, "state": version.state})
    yield Measure("kappa_version_lag_events", version.lag, own)
    yield Measure("kappa_version_rows", version.rows, own)
    yield Measure("kappa_version_dead_letters", version.dead_letters, own)
    yield Measure("kappa_version_bytes", version.size_bytes, own)
    for each in version.partitions:
        place = {**own, "partition": str(each.partition)}
        yield Measure("kappa_partition_position", each.position, place)
        yield Measure("kappa_partition_lag_events", each.lag, place)
    if version.job is not None:
        yield from _of_operators(version.job, own)
        yield from _of_checkpoint(version.job, own)


def _of_operators(job: JobStatus, own: Mapping[str, str]) -> Iterator[Measure]:
    yield Measure("kappa_job_backpressure", 1, {**own, "level": job.verdict.level})
    for operator in job.load.operators:
        named = {**own, "operator": operator.name}
        yield Measure("kappa_operator_subtasks", operator.parallelism, named)
        yield Measure("kappa_operator_busy_ratio", operator.busy_ms / 1_000, named)
        yield Measure("kappa_operator_idle_ratio", operator.idle_ms / 1_000, named)
        yield Measure("kappa_operator_backpressured_ratio", operator.backpressured_ms / 1_000, named)
        if operator.buffers_in is not None:
            yield Measure("kappa_operator_input_buffers_ratio", operator.buffers_in, named)
        if operator.buffers_out is not None:
            yield Measure("kappa_operator_output_buffers_ratio", operator.buffers_out, named)
    if job.verdict.starts_at:
        yield Measure("kappa_operator_holds_up", 1, {**own, "operator": job.verdict.starts_at})


def _of_checkpoint(job: JobStatus, own: Mapping[str, str]) -> Iterator[Measure]:
    if (last := job.load.checkpoint) is not None:
        yield Measure("kappa_checkpoint_timestamp_seconds", last.ended_at.timestamp(), own)
        yield Measure("kappa_checkpoint_duration_seconds", last.duration_s, own)
        yield Measure("kappa_checkpoint_waited_seconds", last.waited_s, own)
        yield Measure("kappa_checkpoint_interval_seconds", last.interval_s, own)
        yield Measure("kappa_checkpoint_state_bytes", last.state_bytes, own)
        yield Measure("kappa_checkpoint_written_bytes", last.written_bytes, own)
