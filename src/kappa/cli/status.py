"""`kappa status`: show what the log holds and how far each view has come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from kappa.app import App
from kappa.cli.output import Output, counted, make_table, printable
from kappa.cli.verb import verb
from kappa.control.status import JobStatus, Status, VersionStatus, with_rates

_WATCH_S = 1.0
_WAIT_SHOWN_S = 0.1


@verb
@click.option("--watch", is_flag=True, help="Show it again every second, with rates, until Ctrl-C.")
@click.option("--partitions", is_flag=True, help="Show each partition of each version.")
def status(app: App, out: Output, *, watch: bool, partitions: bool) -> None:
    """Show what the log holds and how far each running version of each view has come.

    Lag is the number of events that a version has not folded yet; what counts is what it has committed. With --watch,
    rates are events per second between two looks, and --json prints one document per look and line.

    A log in Kafka also counts the marks of transactions among its events, hence the sign ~.

    Of a version that runs as a job in a Flink cluster it also shows where the time goes: an operator that is
    backpressured waits for the next one, and the first one behind it that does not wait is what holds the job up.

    Examples:
      kappa status
      kappa status --watch --partitions
    """
    if not watch:
        now = app.status()
        out.show(now, lambda: out.draw(_drawing(now, partitions=partitions)))
    elif out.as_json:
        for each in _watched(app):
            out.record(each, "")
    else:
        with out.live() as show:
            for each in _watched(app):
                show(_drawing(each, partitions=partitions))


def _watched(app: App) -> Iterator[Status]:
    now = app.status()
    while True:
        yield now
        time.sleep(_WATCH_S)
        before, now = now, app.status()
        now = with_rates(now, before)


def _drawing(status: Status, *, partitions: bool) -> Any:
    from rich.console import Group  # noqa: PLC0415 - rich is loaded when something is drawn

    logs = make_table(
        ("log", "partitions", "events", "MB"),
        [
            (log.name, log.partitions, counted(log.events, exact=log.exact), _megabytes(log.size_bytes))
            for log in status.logs
        ],
        numbers=("partitions", "events", "MB"),
    )
    columns = ("view", "version", "state", "lag", "rate", "rows", "dead", "MB")
    views = make_table(columns, [_row(version) for version in status.versions], numbers=columns[3:])
    lines = [logs, "", views if status.versions else "no view is deployed yet", ""]
    if partitions:
        names = ("view", "version", "partition", "position", "end", "lag", "rate")
        rows = [row for version in status.versions for row in _partition_rows(version)]
        lines += [make_table(names, rows, numbers=names[2:]), ""]
    for version in status.versions:
        if version.job is not None:
            lines += [*_job_lines(version, version.job), ""]
    lines += map(printable, status.not_at_work)
    if status.running_in is None:
        lines.append("not running: kappa up")
    else:
        lines.append(f"running in {status.running_in}")
    if status.rejected:
        lines.append(f"{status.rejected:,} pieces of input were rejected: kappa dlq list")
    return Group(*lines)


def _row(version: VersionStatus) -> tuple[str, ...]:
    return (
        version.view,
        f"v{version.version}",
        version.state,
        f"{version.lag:,}",
        _rate(version.rate),
        f"{version.rows:,}",
        f"{version.dead_letters:,}",
        _megabytes(version.size_bytes),
    )


def _partition_rows(version: VersionStatus) -> list[tuple[str, ...]]:
    return [
        (
            version.view,
            f"v{version.version}",
            str(each.partition),
            f"{each.position:,}",
            f"{each.end:,}",
            f"{each.lag:,}",
            _rate(each.rate),
        )
        for each in version.partitions
    ]


def _job_lines(version: VersionStatus, job: JobStatus) -> Iterator[Any]:
    shares = ("busy", "idle", "waits", "buffers in", "buffers out")
    names = (f"{version.view} v{version.version}", "subtasks", *shares, "backpressure")
    rows = [
        (
            operator.name,
            str(operator.parallelism),
            *(f"{part / 1_000:.0%}" for part in (operator.busy_ms, operator.idle_ms, operator.backpressured_ms)),
            *("" if part is None else f"{part:.0%}" for part in (operator.buffers_in, operator.buffers_out)),
            level,
        )
        for operator, level in zip(job.load.operators, job.levels, strict=True)
    ]
    yield make_table(names, rows, numbers=names[1:-1])
    if job.verdict.starts_at:
        yield f"the others wait for: {job.verdict.starts_at}"
    if (checkpoint := job.load.checkpoint) is not None:
        grown = checkpoint.growth_bytes_per_s
        growth = "" if grown is None else f", {grown * 3_600 / 1e6:+,.1f} MB per hour"
        waited = f" ({checkpoint.waited_s:.1f} s behind events)" if checkpoint.waited_s >= _WAIT_SHOWN_S else ""
        yield (
            f"last checkpoint: {checkpoint.duration_s:.1f} s{waited}, "
            f"{_megabytes(checkpoint.written_bytes)} MB written; state {_megabytes(checkpoint.state_bytes)} MB{growth}"
        )
    yield from map(printable, job.verdict.advice)


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.0f}/s"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f}"
