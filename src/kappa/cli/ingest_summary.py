"""What `kappa ingest` says in the end: what was appended, what was not, and where it would go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.control.ingest import IngestReport
from kappa.errors import KappaError

_TYPES_MAX = 10


class Summary(msgspec.Struct, frozen=True):
    """What `--json` prints: the report, which of its types the project does not know, and the speed.

    Attributes:
        stopped_at: If it was interrupted, the unit that its place counts.
    """

    report: IngestReport
    unknown_types: dict[str, int]
    seconds: float
    stopped_at: str | None = None


def summary_of(app: App, report: IngestReport, *, seconds: float, stopped_at: str | None) -> Summary:
    """Return the summary of a run that came as far as `report` says."""
    return Summary(report, _unknown(app, report), seconds, stopped_at)


def _unknown(app: App, report: IngestReport) -> dict[str, int]:
    """Return the types that the project does not know; none if its code cannot tell now."""
    try:
        known = app.project.events
    except KappaError:
        return {}
    return {name: count for name, count in report.types.items() if name not in known}


def show(out: Output, summary: Summary) -> None:
    """Show it for people."""
    for line in _lines(summary):
        out.line(line)


def _lines(summary: Summary) -> Iterator[str]:
    report = summary.report
    if report.appended:
        rate = report.appended / summary.seconds
        yield f"appended  {report.appended:,} events ({_counts(report.types)}), {rate:,.0f}/s"
    elif report.lines or report.rejected:
        yield "appended  nothing new"
    else:
        yield f"{printable(report.source)} is empty: nothing to append"
    if report.already_there:
        yield f"skipped   {report.already_there:,} events that were there already"
    if summary.unknown_types:
        yield f"unknown   {_counts(summary.unknown_types)}: kept in the log, but no view of this project reads them"
    if report.rejected:
        yield f"rejected  {report.rejected:,}"
        yield from (f"          line {each.line:,}: {printable(each.reason)}" for each in report.reasons)
        yield "          see them all: kappa dlq list"
    if report.unfinished:
        yield "          the last line has no end yet: once it has, ingest again, and it is read again"
    if summary.stopped_at is not None:
        end = "" if report.end is None else f" of {report.end:,}"
        yield f"stopped   at {report.place:,}{end} {summary.stopped_at}: run it again, and it goes on there"


def _counts(types: Mapping[str, int]) -> str:
    """Name the most frequent types with their counts."""
    frequent = sorted(types.items(), key=lambda each: -each[1])[:_TYPES_MAX]
    names = [f"{printable(name)} {count:,}" for name, count in frequent]
    return ", ".join(names + ([f"{len(types) - len(names):,} more types"] if len(types) > len(names) else []))
