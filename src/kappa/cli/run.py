"""`kappa run`: fold the log into the project's views, to its end or for good."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output, make_table, printable
from kappa.cli.verb import json_lines, verb
from kappa.control.running import Run, RunStatus, VersionProgress, refuse_failed
from kappa.ports import Version, WorkerHealth

# Also how soon the end of a catch-up is noticed.
_POLL_S = 0.1
_LIVE_S, _JSON_S, _LINE_S = 0.2, 1.0, 5.0


@verb
@click.option("--until-caught-up", is_flag=True, help="End once every view holds all of the log. Default: go on.")
@click.option("--rebuild", is_flag=True, help="Replay the log for views whose code has changed, then switch to them.")
@json_lines
def run(app: App, out: Output, *, until_caught_up: bool, rebuild: bool) -> None:
    """Fold the log into the project's views.

    The first time a view is seen it is deployed as version 1. If its code has changed since, --rebuild deploys a new
    version, which replays the whole log; readers see the old one until the new one has caught up. All views switch at
    the same moment.

    Ctrl-C stops the workers once they have committed. They may be killed, too: nothing is lost, and the next run goes
    on where they were.

    Examples:
      kappa run --until-caught-up
      kappa run --until-caught-up --rebuild
    """
    follow(app, out, until_caught_up=until_caught_up, rebuild=rebuild)


def follow(app: App, out: Output, *, until_caught_up: bool, rebuild: bool) -> None:
    """Run the project's versions and show how far they are."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with app.run(rebuild=rebuild) as running:
            statuses = _polled(running)
            if until_caught_up:
                _catch_up(out, statuses)
            else:
                _go_on(out, statuses)
    finally:
        signal.signal(signal.SIGTERM, before)


def _polled(running: Run) -> Iterator[RunStatus]:
    """Yield the status for ever.

    Raises:
        WorkerFailed: A worker cannot go on.
    """
    while True:
        status = running.poll()
        refuse_failed(status)
        yield status
        time.sleep(_POLL_S)


def _catch_up(out: Output, statuses: Iterator[RunStatus]) -> None:
    switched: tuple[Version, ...] = ()
    with out.progress("folding", unit="events") as progress:
        for status in statuses:
            switched += status.promoted
            folded = sum(version.position for version in status.versions)
            # Not the logs' ends: a repartitioned log is still being written.
            progress(folded, total=folded + sum(version.lag for version in status.versions), note=_rate(status))
            if status.caught_up:
                break
    final = msgspec.structs.replace(status, promoted=switched)
    out.record(final, "\n".join(_final_lines(final)))


def _go_on(out: Output, statuses: Iterator[RunStatus]) -> None:
    if out.as_json:
        for status in _every(_JSON_S, statuses):
            out.record(status, "")
    elif out.on_terminal:
        with out.live() as show:
            for status in _every(_LIVE_S, statuses):
                show(_drawing(status))
    else:
        for status in _every(_LINE_S, statuses):
            for version in status.versions:
                out.line(_version_line(version))
            for worker in _troubled(status):
                out.line(f"{worker.name} {worker.state}: {printable(worker.detail)}")


def _every(seconds: float, statuses: Iterator[RunStatus]) -> Iterator[RunStatus]:
    """Yield the first status, then one about so often, and any in which a version has become primary."""
    shown_at = -math.inf
    for status in statuses:
        if status.promoted or time.monotonic() - shown_at >= seconds:
            shown_at = time.monotonic()
            yield status


def _final_lines(status: RunStatus) -> Iterator[str]:
    for version in status.promoted:
        yield f"{version.table.view} is served from v{version.table.version} now"
    for progress in status.versions:
        yield f"{progress.view} v{progress.version} has folded all {progress.end:,} events"
    if not status.versions:
        yield "the project has no view"


def _version_line(version: VersionProgress) -> str:
    return (
        f"{version.view} v{version.version}: {version.position:,} of {version.end:,} events, "
        f"lag {version.lag:,}, {version.rate:,.0f} events/s{', candidate' if version.candidate else ''}"
    )


def _drawing(status: RunStatus) -> Any:
    from rich.console import Group  # noqa: PLC0415 - rich is loaded when something is drawn

    columns = ("view", "version", "folded", "end", "lag", "rate", "")
    rows = [
        (
            version.view,
            f"v{version.version}",
            f"{version.position:,}",
            f"{version.end:,}",
            f"{version.lag:,}",
            f"{version.rate:,.0f}/s",
            "candidate" if version.candidate else "",
        )
        for version in status.versions
    ]
    trouble = [f"{worker.name} {worker.state}: {printable(worker.detail)}" for worker in _troubled(status)]
    return Group(make_table(columns, rows, numbers=columns[2:-1]), *trouble, "Ctrl-C stops")


def _troubled(status: RunStatus) -> list[WorkerHealth]:
    return [worker for worker in status.workers if worker.state != "running" or worker.detail]


def _rate(status: RunStatus) -> str:
    return f"{sum(version.rate for version in status.versions):,.0f} events/s"


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """End like Ctrl-C: the workers are stopped on the way out."""
    del signum, frame
    raise KeyboardInterrupt
