"""`kappa tail`: show events of the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import json_lines, verb
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
@click.option(
    "-n", "count", type=click.IntRange(1), help="Show at most so many. Default: 10, or all with --from-start."
)
@click.option("-f", "--follow", is_flag=True, help="Wait for new events and show them, until Ctrl-C.")
@click.option("--partition", type=click.IntRange(0), help="Show this partition only.")
@json_lines
def tail(app: App, out: Output, *, from_start: bool, count: int | None, follow: bool, partition: int | None) -> None:
    """Show the last events of the log, in the order in which they were appended.

    A line has the event's place (partition:offset), its time, its key and itself.

    Examples:
      kappa tail -n 3
      kappa tail --follow --partition 0
      kappa tail --from-start --json > events.ndjson
    """
    log = app.events
    for record in _wanted(log, _partitions(log, partition), from_start=from_start, count=count, follow=follow):
        out.record(_entry(record), _line(record))


def _partitions(log: Log, partition: int | None) -> tuple[int, ...]:
    if partition is None:
        return tuple(range(log.partition_count))
    if partition >= log.partition_count:
        raise InputError(f"the log has partitions 0 to {log.partition_count - 1}, got {partition}")
    return (partition,)


def _wanted(
    log: Log, partitions: tuple[int, ...], *, from_start: bool, count: int | None, follow: bool
) -> Iterator[Record]:
    position = {each: log.starts()[each] for each in partitions} if from_start else None
    if position is not None:
        found: Iterator[Record] = records_from(log, position)
    else:
        position = {each: log.ends()[each] for each in partitions}
        found = iter(last_records(log, partitions, records_max=count or _LAST_RECORDS))
    limit = count if from_start and not follow else None
    while True:
        for record in islice(found, limit):
            position[record.partition] = max(position[record.partition], record.offset + 1)
            yield record
        if not follow:
            return
        time.sleep(_POLL_S)
        found = records_from(log, position)


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
