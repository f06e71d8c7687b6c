"""`kappa ingest`: append events from a file, standard input or a Kafka topic to the log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from kappa.app import App
from kappa.cli.ingest_summary import show, summary_of
from kappa.cli.output import Output, printable
from kappa.cli.stopping import stopped_like_ctrl_c
from kappa.cli.verb import verb
from kappa.control.ingest import IngestReport, Input, InputFormat, TopicIngestion, format_of
from kappa.control.ingest.source import BLOCK_PIECES_MAX
from kappa.errors import InputError

# With --rate, so long is what one transaction appends.
_PACE_S = 0.1
# How soon --follow sees a new record, at the latest.
_POLL_S = 0.5


class Given(msgspec.Struct, frozen=True):
    """The options: what to ingest and how. Those of a file and those of a topic exclude each other."""

    file: Path | None
    format_: InputFormat | None
    from_kafka: str | None
    bootstrap_servers: str | None
    wire: str | None
    follow: bool
    skip_lost: bool
    event_type: str | None
    function: str | None
    validate: bool
    source: str | None
    rate: float | None

    @property
    def pieces_max(self) -> int:
        """How many lines, rows or records one transaction appends."""
        return BLOCK_PIECES_MAX if self.rate is None else min(BLOCK_PIECES_MAX, max(1, int(self.rate * _PACE_S)))


@verb
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(InputFormat, case_sensitive=False),
    help="How FILE is laid out. Default: what its name ends in, else ndjson.",
)
@click.option("--from-kafka", metavar="TOPIC", help="Take a topic that other systems write, instead of FILE.")
@click.option(
    "--bootstrap-servers", metavar="HOST:PORT,...", help="Brokers that have TOPIC. Default: kafka.bootstrap_servers."
)
@click.option(
    "--wire",
    metavar="[MODULE]",
    is_flag=False,
    flag_value="",
    help="Records of TOPIC are in the wire format of Confluent's clients. MODULE: what protoc made, for Protobuf.",
)
@click.option("--follow", is_flag=True, help="Wait for new records of TOPIC and take them too, until Ctrl-C.")
@click.option("--skip-lost", is_flag=True, help="Go on behind what TOPIC has deleted before it was taken.")
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
    help="Remember the position under this name. Default: the file's absolute path, or TOPIC.",
)
@click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    help="Append at most N events per second, evenly, as a live system would.",
)
def ingest(app: App, out: Output, **options: Any) -> None:
    """Append the events in FILE (- for standard input), or in a Kafka topic, to the log.

    A line of NDJSON is an event as it is: a JSON object with `type`, `timestamp` and the field that keys the log. So is
    a record of a topic. Rows of CSV and Parquet need --type or --map to become events.

    The log remembers how far it has taken each source. So a file can be ingested again after it has grown, or after
    an interruption, and nothing is added twice; so can a topic. A file that was replaced is refused. Standard input is
    remembered only with --source; it must then begin with what was sent before.

    What cannot become an event is set aside with its reason: see `kappa dlq list`. The rest goes on. While a broker or
    a database is away, it waits for it and goes on by itself.

    Examples:
      kappa ingest events.ndjson
      kappa ingest flights.csv --map flights:to_events
      zcat events.gz | kappa ingest - --source events
      kappa ingest december.csv --map flights:to_events --rate 500
      kappa ingest --from-kafka orders --wire --follow
    """
    given = Given(**options)
    _refuse_mixed(given)
    with stopped_like_ctrl_c():
        if given.from_kafka is None:
            _ingest_file(app, out, given)
        else:
            _ingest_topic(app, out, given, given.from_kafka)


def _refuse_mixed(given: Given) -> None:
    if (given.file is None) == (given.from_kafka is None):
        raise click.UsageError("Name either a FILE (- for standard input) or a topic: --from-kafka TOPIC.")
    if given.from_kafka is None:
        extra = {
            "--bootstrap-servers": given.bootstrap_servers is not None,
            "--wire": given.wire is not None,
            "--follow": given.follow,
            "--skip-lost": given.skip_lost,
        }
        if named := [name for name, found in extra.items() if found]:
            raise click.UsageError(f"{', '.join(named)} needs --from-kafka TOPIC.")
    elif given.format_ is not None:
        raise click.UsageError("--format is how a FILE is laid out: it does not go with --from-kafka.")
    ways = {"--type": given.event_type, "--map": given.function, "--wire": given.wire}
    if len(named := [name for name, value in ways.items() if value is not None]) > 1:
        raise click.UsageError(f"{' and '.join(named)} exclude each other.")


def _ingest_file(app: App, out: Output, given: Given) -> None:
    file = _input(given)
    mapping = app.mapping(_mapping_name(given, file.format))
    waiting = _Waiting(out)
    reports = app.ingest(file, mapping, standard_input=sys.stdin.buffer, waiter=waiting)
    ends = (msgspec.structs.replace(report, end=file.size_bytes()) for report in reports)
    _run(app, out, given, ends, waiting, unit="rows" if file.format is InputFormat.PARQUET else "bytes")


def _ingest_topic(app: App, out: Output, given: Given, name: str) -> None:
    mapping = app.mapping(_mapping_name(given, InputFormat.NDJSON))
    waiting = _Waiting(out)
    with app.topic(name, bootstrap_servers=given.bootstrap_servers, waiter=waiting) as topic:
        for warning in topic.warnings():
            out.note(f"warning: {warning}")
        ingestion = app.ingest_topic(
            topic,
            mapping,
            source=given.source or "",
            skip_lost=given.skip_lost,
            pieces_max=given.pieces_max,
            waiter=waiting,
        )

        reports = _followed(ingestion) if given.follow else ingestion.run()
        _run(app, out, given, reports, waiting, unit="records")


def _followed(ingestion: TopicIngestion) -> Iterator[IngestReport]:
    """Yield a report for whatever comes in, for ever."""
    last: IngestReport | None = None
    while True:
        for report in ingestion.run():
            if report != last:
                yield report
            last = report
        time.sleep(_POLL_S)


class _Waiting:
    """Says what is away, once for each time that it is; Ctrl-C ends the wait."""

    def __init__(self, out: Output) -> None:
        self._out, self._said = out, False

    def wait(self, seconds: float, *, reason: str = "") -> None:
        if not self._said:
            self._out.note(f"{reason}; waiting for it, and going on by itself (Ctrl-C ends this)")
        self._said = True
        time.sleep(seconds)

    def over(self) -> None:
        """Take note that it goes on."""
        self._said = False


def _run(app: App, out: Output, given: Given, reports: Iterator[IngestReport], waiting: _Waiting, *, unit: str) -> None:
    """Ingest, show how far it is, and in the end what came of it, however it ends.

    Raises:
        KeyboardInterrupt: It was interrupted, unless that is how it was to end.
    """
    started = time.monotonic()
    last: IngestReport | None = None
    interrupted = False
    with out.progress("ingesting", unit=unit) as progress:
        try:
            for last in reports:
                waiting.over()
                if given.rate is not None:
                    time.sleep(max(0.0, started + last.appended / given.rate - time.monotonic()))
                reached = last.appended / (time.monotonic() - started)
                # Of one that waits for events, how fast it was on average says nothing.
                note = f"{last.appended:,} events" if given.follow else f"{reached:,.0f} events/s"
                progress(last.place, total=last.end, note=note)
        except KeyboardInterrupt:
            interrupted = True
    if last is not None:
        summary = summary_of(app, last, seconds=time.monotonic() - started, stopped_at=unit if interrupted else None)
        out.show(summary, lambda: show(out, summary))
    if interrupted and not (given.follow and last is not None):
        raise KeyboardInterrupt


def _input(given: Given) -> Input:
    assert given.file is not None
    path = None if str(given.file) == "-" else given.file
    source = given.source
    if source is None:
        # Standard input has no identity: each run is a source of its own.
        # A file's name may be no Unicode.
        source = printable(os.fsencode(path.resolve())) if path is not None else f"stdin {time.time_ns()}"
    return Input(path, given.format_ or format_of(path), source, given.pieces_max)


def _mapping_name(given: Given, format_: InputFormat) -> str:
    name = ""
    if given.event_type is not None:
        name = f"{'text' if format_ is InputFormat.CSV else 'type'}:{given.event_type}"
    elif given.function is not None:
        name = f"map:{given.function}"
    elif given.wire is not None:
        name = f"wire:{given.wire}"
    elif format_ is not InputFormat.NDJSON:
        raise InputError(
            f"rows of {format_} do not say what events they are",
            next_step="name one type for all with --type NAME, or a function of the project with --map MODULE:FUNCTION",
        )
    return f"validated {name}" if given.validate else name
