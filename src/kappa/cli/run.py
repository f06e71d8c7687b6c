"""`kappa run`: fold the log into the project's views, to its end or for good."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import click

from kappa.app import App
from kappa.cli.output import Output, counted, make_table, printable
from kappa.cli.stopping import stopped_like_ctrl_c
from kappa.cli.verb import json_lines, verb
from kappa.control.progress import VersionProgress
from kappa.control.running import Run, RunStatus, not_at_work, refuse_failed
from kappa.errors import StoreUnavailable
from kappa.planning.states import VersionState
from kappa.ports import WorkerHealth

# Also how soon the end of a catch-up is noticed.
_POLL_S = 0.1
_LIVE_S, _JSON_S, _LINE_S = 0.2, 1.0, 5.0


@verb
@click.option("--until-caught-up", is_flag=True, help="End once every view holds all of the log. Default: go on.")
@json_lines
def run(app: App, out: Output, *, until_caught_up: bool) -> None:
    """Fold the log into the project's views.

    The first time a view is seen it is deployed as version 1. If its code has changed since, version 1 goes on running
    the code that it was deployed with: `kappa plan` shows what the change would do, and `kappa apply` replays the log
    for it, beside what people read.

    Ctrl-C stops the workers once they have committed. They may be killed, too: nothing is lost, and the next run goes
    on where they were. With Flink as the engine, jobs go on when this ends.

    Examples:
      kappa run --until-caught-up
      kappa run --json
    """
    follow(app, out, until_caught_up=until_caught_up)


def follow(app: App, out: Output, *, until_caught_up: bool) -> None:
    """Run the project's versions and show how far they are."""
    with stopped_like_ctrl_c(), app.run() as running:
        for note in running.notes:
            out.note(note)
        statuses = _polled(running, out)
        if until_caught_up:
            _catch_up(out, statuses)
        else:
            _go_on(out, statuses)


def _polled(running: Run, out: Output) -> Iterator[RunStatus]:
    """Yield the status for ever. While a store cannot be read, the workers wait for it, and so does this.

    Raises:
        WorkerFailed: A version that people read cannot go on.
        StoreUnavailable: Waiting is no help.
    """
    waiting = False
    while True:
        try:
            status = running.poll()
        except StoreUnavailable as error:
            if not error.retryable:
                raise
            if not waiting:
                out.note(f"{error.message}; waiting for it")
            waiting = True
        else:
            waiting = False
            refuse_failed(status)
            yield status
        time.sleep(_POLL_S)


def _catch_up(out: Output, statuses: Iterator[RunStatus]) -> None:
    with out.progress("folding", unit="events") as progress:
        for status in statuses:
            folded = sum(version.position for version in status.versions)
            # Not the logs' ends: a repartitioned log is still being written.
            progress(folded, total=folded + sum(version.lag for version in status.versions), note=_note(status))
            if status.caught_up:
                break
    out.record(status, "\n".join(_final_lines(status)))


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
                out.line(_trouble_line(worker))


def _every(seconds: float, statuses: Iterator[RunStatus]) -> Iterator[RunStatus]:
    """Yield the first status, then one about so often."""
    shown_at = -math.inf
    for status in statuses:
        if time.monotonic() - shown_at >= seconds:
            shown_at = time.monotonic()
            yield status


def _final_lines(status: RunStatus) -> Iterator[str]:
    for version in status.versions:
        if version.failure:
            yield printable(version.failure)
        else:
            events = counted(version.end, exact=version.exact)
            yield f"{version.view} v{version.version} has folded all {events} events"
    if not status.versions:
        yield "the project has no view"


def _version_line(version: VersionProgress) -> str:
    events = counted(version.end, exact=version.exact)
    return (
        f"{version.view} v{version.version}: {version.position:,} of {events} events, "
        f"lag {version.lag:,}, {version.rate:,.0f} events/s{_standing(version)}"
    )


def _standing(version: VersionProgress) -> str:
    """Say in which state a version is, unless it serves, and at what part of its speed."""
    state = "" if version.state is VersionState.PRIMARY else f", {version.state}"
    return f"{state}, throttled to {version.share:.0%}" if version.share < 1 else state


def _drawing(status: RunStatus) -> Any:
    from rich.console import Group  # noqa: PLC0415 - rich is loaded when something is drawn

    columns = ("view", "version", "folded", "end", "lag", "rate", "")
    rows = [
        (
            version.view,
            f"v{version.version}",
            f"{version.position:,}",
            counted(version.end, exact=version.exact),
            f"{version.lag:,}",
            f"{version.rate:,.0f}/s",
            _standing(version).removeprefix(", "),
        )
        for version in status.versions
    ]
    trouble = [_trouble_line(worker) for worker in _troubled(status)]
    return Group(make_table(columns, rows, numbers=columns[2:-1]), *trouble, "Ctrl-C stops")


def _troubled(status: RunStatus) -> list[WorkerHealth]:
    return [worker for worker in status.workers if worker.state != "running" or worker.detail]


def _trouble_line(worker: WorkerHealth) -> str:
    return f"{worker.name} {worker.state}" + (f": {printable(worker.detail)}" if worker.detail else "")


def _note(status: RunStatus) -> str:
    """Say how fast it goes, and who does not work yet, or any more: a job takes its time to start."""
    rate = f"{sum(version.rate for version in status.versions):,.0f} events/s"
    return printable(", ".join([rate, *not_at_work(status.workers)]))
