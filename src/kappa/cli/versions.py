"""`kappa versions`: list the versions of views."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import verb
from kappa.control.version_list import VersionEntry, VersionList
from kappa.planning.states import VersionState

_DIGITS = 8  # of hashes: enough to tell a project's apart


@verb
@click.argument("view", required=False)
def versions(app: App, out: Output, *, view: str | None) -> None:
    """List all versions of VIEW, or of every view: how far each one is, what it serves, what it holds.

    A version runs from its own bundle, a copy of the code that was deployed. The one marked with * has the code that
    is in the project's folder now.

    Examples:
      kappa versions
      kappa versions carrier --json
    """
    found = app.version_list(view)
    out.show(found, lambda: _show(out, found))


def _show(out: Output, found: VersionList) -> None:
    if not found.versions:
        out.line("no view is deployed yet: kappa up")
        return
    columns = ("view", "version", "state", "traffic", "code", "bundle", "position", "lag", "rows", "dead", "MB", "age")
    rows = [_row(entry, found.taken_at) for entry in found.versions]
    out.table(columns, rows, numbers=("traffic", "position", "lag", "rows", "dead", "MB", "age"))
    for line in _remarks(found):
        out.line(line)


def _row(entry: VersionEntry, now: datetime) -> tuple[str, ...]:
    return (
        entry.view,
        f"v{entry.version}",
        entry.state,
        f"{entry.traffic_percent:g} %" if entry.traffic_percent else "",
        entry.fingerprint[:_DIGITS] + (" *" if entry.current_code else ""),
        entry.bundle[:_DIGITS],
        f"{sum(entry.position.values()):,}",
        f"{entry.lag:,}",
        f"{entry.rows:,}",
        f"{entry.dead_letters:,}",
        f"{entry.size_bytes / 1e6:,.1f}",
        age_text((now - entry.created_at).total_seconds()),
    )


def _remarks(found: VersionList) -> Iterator[str]:
    for entry in found.versions:
        name = f"{entry.view} v{entry.version}"
        if entry.seed is not None and not entry.state.stopped:
            made = f"{name} started from a seed made of v{entry.seed.base} ({entry.seed.kind})"
            yield f"{made}: {printable(entry.seed_note)}" if entry.seed_note else made
        if entry.dropped_at is not None:
            yield f"{name}: its rows are deleted"
        for trouble in entry.trouble:
            yield printable(trouble)
    if found.code_trouble:
        yield f"no version is marked: {printable(found.code_trouble)}"
    for entry in found.versions:
        if entry.state in {VersionState.CAUGHT_UP, VersionState.CANARY}:
            look, force = f"kappa diff {entry.view}", ""
            if not entry.comparable:
                look, force = f"kappa get {entry.view} KEY --version v{entry.version}", " --force"
            yield f"next:  {look}, then: kappa promote {entry.view} v{entry.version}{force}"


def age_text(seconds: float) -> str:
    """Return an age in its largest whole unit.

    >>> age_text(5.2), age_text(300), age_text(7200), age_text(200_000)
    ('5 s', '5 min', '2 h', '2 d')
    """
    for unit, unit_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= unit_s:
            return f"{seconds // unit_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
