"""What was set aside: input that could not be ingested, and records that a version could not fold.

Both have ids. Input is `SOURCE:PLACE`; a dead letter is `VIEW:vN:PARTITION:OFFSET`, whose record stays in the log.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from kappa.errors import InputError
from kappa.model.events import Event
from kappa.model.kernel import Kernel
from kappa.model.records import Position, RecordBatch
from kappa.model.schema import ViewTable
from kappa.model.views import View
from kappa.ports import ControlStore, DeadLetterEntry, ViewStore
from kappa.ports.control import RejectedInput

# Dead letters of one partition, with their values: a few megabytes.
COMPARED_MAX = 10_000

_VIEW_ID = re.compile(r"(?P<view>\w+):v(?P<version>\d+):(?P<partition>\d+):(?P<offset>\d+)")
_INPUT_ID = re.compile(r"(?P<source>.+):(?P<place>\d+)", re.DOTALL)


class InputId(msgspec.Struct, frozen=True):
    """Names a piece of rejected input."""

    source: str
    place: int

    def __str__(self) -> str:
        return f"{self.source}:{self.place}"


class LetterId(msgspec.Struct, frozen=True):
    """Names a dead letter of a version."""

    view: str
    version: int
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.view}:v{self.version}:{self.partition}:{self.offset}"


class SetAside(msgspec.Struct, frozen=True):
    """Something that was set aside.

    Attributes:
        id: As `kappa dlq show` takes it.
        place: Where it is, for people.
        reason: What was expected and what was found.
        value: Its bytes; of large input, the beginning.
        size_bytes: Its whole size.
    """

    id: str
    place: str
    reason: str
    value: bytes
    size_bytes: int


class SetAsideList(msgspec.Struct, frozen=True):
    """The first of what was set aside; `rejected` and `dead_letters` count all of it."""

    rejected: int
    dead_letters: int
    first: Sequence[SetAside]


def parse_id(text: str) -> InputId | LetterId:
    """Read an id.

    Raises:
        InputError: It is none.

    >>> parse_id("user_profile:v1:3:42")
    LetterId(view='user_profile', version=1, partition=3, offset=42)
    >>> parse_id("/data/events.ndjson:1024")
    InputId(source='/data/events.ndjson', place=1024)
    """
    if found := _VIEW_ID.fullmatch(text):
        numbers = (int(found[name]) for name in ("version", "partition", "offset"))
        return LetterId(found["view"], *numbers)
    if found := _INPUT_ID.fullmatch(text):
        return InputId(found["source"], int(found["place"]))
    raise InputError(
        f"expected an id as SOURCE:PLACE or VIEW:vN:PARTITION:OFFSET, got '{text}'", next_step="kappa dlq list"
    )


def list_set_aside(*, control: ControlStore, views: ViewStore, limit: int) -> SetAsideList:
    """Return the first `limit` of what was set aside: input, then the dead letters of versions that are not retired."""
    tables = [version.table for version in control.versions() if version.retired_at is None]
    first = [_input(entry) for entry in control.rejected(limit=limit)]
    for table in tables:
        entries = views.dead_letters(table, limit=limit - len(first)) if len(first) < limit else ()
        first += [_letter(entry, table) for entry in entries]
    return SetAsideList(
        rejected=control.rejected_count(),
        dead_letters=sum(views.dead_letter_count(table) for table in tables),
        first=first,
    )


def find_set_aside(wanted: InputId | LetterId, *, control: ControlStore, views: ViewStore) -> SetAside:
    """Return what has this id.

    Raises:
        InputError: Nothing has.
    """
    match wanted:
        case InputId():
            for entry in control.rejected(limit=1, source=wanted.source, after=(wanted.source, wanted.place - 1)):
                if entry.place == wanted.place:
                    return _input(entry)
        case LetterId():
            table, entry_ = find_letter(wanted, control=control, views=views)
            return _letter(entry_, table)
    raise _not_found(wanted)


def find_letter(wanted: LetterId, *, control: ControlStore, views: ViewStore) -> tuple[ViewTable, DeadLetterEntry]:
    """Return a dead letter and the table of its version.

    Raises:
        InputError: There is none with this id.
    """
    for version in control.versions(wanted.view):
        if version.table.version == wanted.version:
            found = views.dead_letters(version.table, limit=1, partition=wanted.partition, offset=wanted.offset)
            if found:
                return version.table, found[0]
    raise _not_found(wanted)


def set_aside_only_by(table: ViewTable, other: ViewTable, position: Position, *, views: ViewStore) -> int:
    """Return how many records before a position one version has set aside and another one, that was there, has not.

    Of each partition the first `COMPARED_MAX` of both count: more would say nothing else.
    """
    if not views.dead_letter_count(table):
        return 0
    count = 0
    for partition, end in position.items():
        ours, theirs = (
            [each.offset for each in views.dead_letters(version, limit=COMPARED_MAX, partition=partition)]
            for version in (table, other)
        )
        if len(theirs) == COMPARED_MAX:
            end = min(end, theirs[-1] + 1)  # noqa: PLW2901 - nothing is known beyond
        count += len({offset for offset in ours if offset < end}.difference(theirs))
    return count


def why_not_folded(letter: DeadLetterEntry, view: type[View], *, events: Collection[type[Event]]) -> str | None:
    """Return why today's code cannot fold a dead letter into a new row, or None if it can."""
    kernel = Kernel(view, events=events, load=lambda _: {}, rows_max=2, store_empty=True)
    kernel.fold(
        RecordBatch(
            partition=letter.partition,
            offsets=(letter.offset,),
            keys=(letter.key,),
            values=(letter.value,),
            event_times_us=(letter.event_time_us,),
            appended_at_us=(0,),
            next_offset=letter.offset + 1,
        )
    )
    return next((letter.reason for letter in kernel.take_changes().dead_letters), None)


def _input(entry: RejectedInput) -> SetAside:
    return SetAside(
        id=str(InputId(entry.source, entry.place)),
        place=f"line {entry.line:,} of {entry.source}",
        reason=entry.reason,
        value=entry.value,
        size_bytes=entry.size_bytes,
    )


def _letter(entry: DeadLetterEntry, table: ViewTable) -> SetAside:
    return SetAside(
        id=str(LetterId(table.view, table.version, entry.partition, entry.offset)),
        place=f"{table.log}[{entry.partition}] at offset {entry.offset}, for {table.view} v{table.version}",
        reason=entry.reason,
        value=entry.value,
        size_bytes=len(entry.value),
    )


def _not_found(wanted: InputId | LetterId) -> InputError:
    return InputError(f"nothing that was set aside has the id '{wanted}'", next_step="kappa dlq list")
