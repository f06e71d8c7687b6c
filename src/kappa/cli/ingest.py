"""`kappa ingest`: append events from a file or standard input to the log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import verb
from kappa.control.ingest import IngestReport, Input, InputFormat, format_of
from kappa.errors import InputError, KappaError

_TYPES_MAX = 10
# With --rate, so long is what one transaction appends.
_PACE_S = 0.1


class Summary(msgspec.Struct, frozen=True):
    """What `--json` prints: the report, which of its types the project does not know, and the speed."""

    report: IngestReport
    unknown_types: dict[str, int]
    seconds: float


@verb
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(InputFormat, case_sensitive=False),
    help="How FILE is laid out. Default: what its name ends in, else ndjson.",
)
@click.option("--type", "event_type", metavar="NAME", help="Make each row an event of this type, columns as fields.")
@click.option(
    "--map",
    "function",
    metavar="MODULE:FUNCTION",
    help="Call a function of the project with each row (a dict); it returns any number of events.",
)
@click.option("--validate", is_flag=True, help="Reject events that are not as their registered schema says.")
@click.option(
    "--source",
    metavar="NAME",
    help="Remember the position under this name. Default: the file's absolute path.",
)
@click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    help="Append at most N events per second, evenly, as a live system would.",
)
def ingest(  # noqa: PLR0913 - one argument per option
    app: App,
    out: Output,
    *,
    file: Path,
    format_: InputFormat | None,
    event_type: str | None,
    function: str | None,
    validate: bool,
    source: str | None,
    rate: float | None,
) -> None:
    """Append the events in FILE (- for standard input) to the log.

    A line of NDJSON is an event as it is: a JSON object with `type`, `timestamp` and the field that keys the log. Rows
    of CSV and Parquet need --type or --map to become events.

    The log remembers how far it has taken each source. So a file can be ingested again after it has grown, or after
    an interruption, and nothing is added twice. A file that was replaced is refused. Standard input is remembered only
    with --source; it must then begin with what was sent before.

    What cannot become an event is set aside with its reason: see `kappa dlq list`. The rest goes on.

    Examples:
      kappa ingest events.ndjson
      kappa ingest flights.csv --map flights:to_events
      zcat events.gz | kappa ingest - --source events
      kappa ingest december.csv --map flights:to_events --rate 500
    """
    given = _input(file, format_=format_, source=source)
    if rate is not None:
        given = msgspec.structs.replace(given, pieces_max=min(given.pieces_max, max(1, int(rate * _PACE_S))))
    name = _mapping_name(given, event_type=event_type, function=function)
    mapping = app.mapping(f"validated {name}" if validate else name)
    started = time.monotonic()
    with out.progress("ingesting", unit="rows" if given.format is InputFormat.PARQUET else "bytes") as progress:
        for report in app.ingest(given, mapping, standard_input=sys.stdin.buffer):
            if rate is not None:
                time.sleep(max(0.0, started + report.appended / rate - time.monotonic()))
            reached = report.appended / (time.monotonic() - started)
            progress(report.place, total=given.size_bytes(), note=f"{reached:,.0f} events/s")
    summary = Summary(report, _unknown(app, report), time.monotonic() - started)
    out.show(summary, lambda: _show(out, summary))


def _input(file: Path, *, format_: InputFormat | None, source: str | None) -> Input:
    path = None if str(file) == "-" else file
    if source is None:
        # Standard input has no identity: each run is a source of its own.
        # A file's name may be no Unicode.
        source = printable(os.fsencode(path.resolve())) if path is not None else f"stdin {time.time_ns()}"
    return Input(path, format_ or format_of(path), source)


def _mapping_name(given: Input, *, event_type: str | None, function: str | None) -> str:
    if event_type is not None and function is not None:
        raise click.UsageError("--type and --map exclude each other.")
    if event_type is not None:
        return f"{'text' if given.format is InputFormat.CSV else 'type'}:{event_type}"
    if function is not None:
        return f"map:{function}"
    if given.format is not InputFormat.NDJSON:
        raise InputError(
            f"rows of {given.format} do not say what events they are",
            next_step="name one type for all with --type NAME, or a function of the project with --map MODULE:FUNCTION",
        )
    return ""


def _unknown(app: App, report: IngestReport) -> dict[str, int]:
    """Return the types that the project does not know; none if its code cannot tell now."""
    try:
        known = app.project.events
    except KappaError:
        return {}
    return {name: count for name, count in report.types.items() if name not in known}


def _show(out: Output, summary: Summary) -> None:
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


def _counts(types: Mapping[str, int]) -> str:
    """Name the most frequent types with their counts."""
    frequent = sorted(types.items(), key=lambda each: -each[1])[:_TYPES_MAX]
    names = [f"{printable(name)} {count:,}" for name, count in frequent]
    return ", ".join(names + ([f"{len(types) - len(names):,} more types"] if len(types) > len(names) else []))
