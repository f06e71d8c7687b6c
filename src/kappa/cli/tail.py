"""`kappa tail`: show events of the log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.replay import parse_time
from kappa.cli.verb import json_lines, verb
from kappa.control.event_times import seek
from kappa.control.ranges import time_us
from kappa.control.tail import last_records, records_from, time_of
from kappa.errors import InputError
from kappa.model.records import Record
from kappa.ports import Log

_LAST_RECORDS = 10
_POLL_S = 0.2


class Entry(msgspec.Struct, frozen=True):
    """A record as `--json` prints it; `value` is the event itself if it is JSON."""

    partition: int
    offset: int
    key: bytes | None
    timestamp: datetime
    appended_at: datetime
    value: object


@verb
@click.option("--from-start", is_flag=True, help="Begin with the first event. Default: with the last few.")
@click.option("--from", "since", metavar="T", help="Show the events of this time and later ones, in event time.")
@click.option(
    "-n",
    "count",
    type=click.IntRange(1),
    help="Show at most so many. Default: 10, or all with --from-start or --from.",
)
@click.option("-f", "--follow", is_flag=True, help="Wait for new events and show them, until Ctrl-C.")
@click.option("--partition", type=click.IntRange(0), help="Show this partition only.")
@json_lines
def tail(
    app: App,
    out: Output,
    *,
    from_start: bool,
    since: str | None,
    count: int | None,
    follow: bool,
    partition: int | None,
) -> None:
    """Show the last events of the log, in the order in which they were appended.

    A line has the event's place (partition:offset), its time, its key and itself. T is a date or a date with time in
    ISO 8601, in UTC unless it names a zone.

    Examples:
      kappa tail -n 3
      kappa tail --follow --partition 0
      kappa tail --from 2013-07-01T18:00
      kappa tail --from-start --json > events.ndjson
    """
    if from_start and since is not None:
        raise click.UsageError("--from-start and --from exclude each other.")
    log = app.events
    partitions = _partitions(log, partition)
    begin: Mapping[int, int] | None = None
    since_us = None
    if since is not None:
        since_us = time_us(parse_time(since, "--from"))
        begin = seek(log, since_us)
    elif from_start:
        begin = log.starts()
    if begin is not None:
        begin = {each: begin[each] for each in partitions}
    for record in _wanted(log, partitions, begin=begin, since_us=since_us, count=count, follow=follow):
        out.record(_entry(record), _line(record))


def _partitions(log: Log, partition: int | None) -> tuple[int, ...]:
    if partition is None:
        return tuple(range(log.partition_count))
    if partition >= log.partition_count:
        raise InputError(f"the log has partitions 0 to {log.partition_count - 1}, got {partition}")
    return (partition,)


def _wanted(
    log: Log,
    partitions: tuple[int, ...],
    *,
    begin: Mapping[int, int] | None,
    since_us: int | None,
    count: int | None,
    follow: bool,
) -> Iterator[Record]:
    """Yield the events from `begin` on, or the last ones."""
    if begin is not None:
        position = dict(begin)
        found: Iterator[Record] = records_from(log, position)
    else:
        ends = log.ends()
        position = {each: ends[each] for each in partitions}
        found = iter(last_records(log, partitions, records_max=count or _LAST_RECORDS))
    limit = count if begin is not None and not follow else None
    while True:
        yield from islice(_passing(found, position, since_us), limit)
        if not follow:
            return
        time.sleep(_POLL_S)
        found = records_from(log, position)


def _passing(found: Iterator[Record], position: dict[int, int], since_us: int | None) -> Iterator[Record]:
    """Yield the records that are not too early, and take note of how far all of them go."""
    for record in found:
        position[record.partition] = max(position[record.partition], record.offset + 1)
        if since_us is None or record.event_time_us >= since_us:
            yield record


def _entry(record: Record) -> Entry:
    try:
        value: object = msgspec.json.decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        value = record.value
    return Entry(
        record.partition,
        record.offset,
        record.key,
        time_of(record.event_time_us),
        time_of(record.appended_at_us),
        value,
    )


def _line(record: Record) -> str:
    return (
        f"{record.partition}:{record.offset}  {time_of(record.event_time_us):%Y-%m-%dT%H:%M:%SZ}  "
        f"{printable(record.key)}  {printable(record.value)}"
    )
