"""Tell the story of a row: the events of its key, and what each made of the row, folded by the version's own code.

Memory is bounded by one row, however many events there are. It ends with a check: the last value told is the stored
row, or the difference is said, for then either the version starts from a seed or something is wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from kappa.control.advance import Advance
from kappa.control.counting import Counting
from kappa.control.key_events import LOG_START, Folded, KeyFolder, events_of_keys, readable
from kappa.control.reading import record_key
from kappa.control.tail import time_of
from kappa.errors import HistoryLost, InputError, VersionNotFound, ViewNotFound
from kappa.model.partitioning import partition_of
from kappa.model.records import Record
from kappa.model.schema import ViewTable, decode_key
from kappa.planning.tally import Columns, named
from kappa.ports import ControlStore, Log, Seed, StoredRow, Version, ViewStore


class Happening(msgspec.Struct, frozen=True, tag="event", tag_field="kind"):
    """What one event did to the row.

    Attributes:
        number: Which of the key's events that the version folds it is, from 1.
        partition, offset: Its place in the log.
        time: Its event time, aware UTC.
        type: Its type, as far as it has one.
        event: The event itself, or its bytes if they are no JSON.
        created: Whether it made the row.
        changed: Column -> (before, after) of the columns that it changed; all of them, from None, if it made the row.
        reason: Why the version set it aside, so that it changed nothing; empty if it was folded.
    """

    number: int
    partition: int
    offset: int
    time: datetime
    type: str | None
    event: Any
    created: bool
    changed: Mapping[str, tuple[Any, Any]]
    reason: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, tag="outcome", tag_field="kind"):
    """How the story ends.

    Attributes:
        view, version: Whose row it is.
        key: The values of its key.
        partition, end: The story tells the key's events before this position, which the stored row holds.
        events: How many events were folded or set aside.
        dead_letters: How many of them were set aside.
        passed_over: How many other events the key has, of types that the version does not fold.
        told: The row as the events made it; None if they make none.
        stored: The row as it is stored; None if there is none.
        agrees: Whether both are the same.
        exact: Whether they must be. They need not, if it is not known what made the rows that the version started from.
        note: What follows from it, for people; empty if all is as it should be.
    """

    view: str
    version: int
    key: tuple[Any, ...]
    partition: int
    end: int
    events: int
    dead_letters: int
    passed_over: int
    told: Mapping[str, Any] | None
    stored: Mapping[str, Any] | None
    agrees: bool
    exact: bool
    note: str = ""


def version_to_explain(view: str, number: int | None, *, control: ControlStore) -> Version:
    """Return a version of a view that has rows; by default the primary.

    Raises:
        ViewNotFound: No such view is deployed, or none of its versions is primary.
        VersionNotFound: It does not exist, or its rows are gone.
        InputError: Its seed is not made yet.
    """
    known = {version.table.version: version for version in control.versions(view)}
    number = control.release().primaries.get(view) if number is None else number
    if not known or number is None:
        raise ViewNotFound(view=view, known=tuple(control.release().primaries))
    if number not in known:
        raise VersionNotFound(view=view, version=number)
    if known[number].dropped_at is not None:
        raise VersionNotFound(view=view, version=number, reason="was retired, and its rows are gone")
    if not known[number].seeded:
        raise InputError(f"{view} v{number} has no rows yet: its seed is not made", next_step="kappa apply")
    return known[number]


def explain_row(
    version: Version, key: Sequence[str], *, store: ViewStore, log: Log, counting: Counting, last: int | None = None
) -> Iterator[Advance | Happening | Outcome]:
    """Yield what each event of a key did, then the outcome; in between, how far the log was read.

    Args:
        version: Whose row it is.
        key: The values of the key, as text.
        store: Where the row is.
        log: The log that the version reads.
        counting: By which code it counts which event.
        last: Yield only so many of the last events, once all are folded; None for all, as they come.

    Raises:
        InputError: The key has other parts, or no event that the version has read.
        HistoryLost: The first events have left the log, so that the rest cannot be folded.
    """
    table, record = version.table, record_key(key, version.table)
    partition = partition_of(record, table.partition_count)
    # Progress first: the row is at least as new.
    progress = store.progress(table)[partition].next_offset
    stored = store.get(table, record)
    end = max(progress, 0 if stored is None else stored.offset + 1)
    story = _Story(table, KeyFolder(counting))
    kept: deque[Happening] = deque(maxlen=last)
    for happening in _tell(story, log, partition, record, end=end):
        if last is None or isinstance(happening, Advance):
            yield happening
        else:
            kept.append(happening)
    if story.events == story.passed_over == 0 and stored is None:
        raise InputError(
            f"the log has no event with this key before offset {end} of {log.name}[{partition}]",
            next_step="check the spelling; `kappa status` says whether the view has caught up",
        )
    yield from kept
    yield story.outcome(stored, key=record, partition=partition, end=end, seed=version.seed, exact=counting.exact)


def _tell(story: _Story, log: Log, partition: int, key: bytes, *, end: int) -> Iterator[Advance | Happening]:
    try:
        for batch in events_of_keys(log, partition, {key: (0, end)}, since=LOG_START):
            for record in batch:
                happening = story.go_on(record)
                if happening is not None:
                    yield happening
            yield Advance(min(batch.next_offset, end), end)
    except HistoryLost as error:
        error.next_step = f"the row itself can be read: kappa get {story.table.view} ...; its first events are gone"
        raise


class _Story:
    """Folds the events of one key and counts them."""

    def __init__(self, table: ViewTable, folder: KeyFolder) -> None:
        self.table, self._folder = table, folder
        self._columns: Columns | None = None
        self.events = self.dead_letters = self.passed_over = 0

    def go_on(self, record: Record) -> Happening | None:
        """Fold the next event; return what it did, or None for one that the version does not fold."""
        began = self._columns is None
        folded = self._folder.fold(record)
        if folded.passed_over:
            self.passed_over += 1
            return None
        self.events += 1
        self.dead_letters += folded.reason != ""
        event = readable(record.value)
        return Happening(
            self.events,
            record.partition,
            record.offset,
            time_of(record.event_time_us),
            event.type,
            event.value,
            began and folded.columns is not None,
            self._changed(folded),
            folded.reason,
        )

    def _changed(self, folded: Folded) -> dict[str, tuple[Any, Any]]:
        """Return the columns outside the key that the event changed, and remember the row."""
        before, self._columns = self._named(self._columns), folded.columns
        after = self._named(self._columns) or {}
        return {
            column.name: (before and before[column.name], after[column.name])
            for column in self.table.columns
            if after and (before is None or before[column.name] != after[column.name])
        }

    def outcome(
        self, stored: StoredRow | None, *, key: bytes, partition: int, end: int, seed: Seed | None, exact: bool
    ) -> Outcome:
        """Return how it ends, compared with the stored row."""
        columns = None if stored is None else stored.columns
        agrees = columns == self._columns
        return Outcome(
            view=self.table.view,
            version=self.table.version,
            key=decode_key(key, self.table.key),
            partition=partition,
            end=end,
            events=self.events,
            dead_letters=self.dead_letters,
            passed_over=self.passed_over,
            told=self._named(self._columns),
            stored=self._named(columns),
            agrees=agrees,
            exact=exact,
            note=_note(self.table, seed, agrees=agrees, exact=exact),
        )

    def _named(self, columns: Columns | None) -> dict[str, Any] | None:
        return None if columns is None else named(self.table.all_columns, columns)


def _note(table: ViewTable, seed: Seed | None, *, agrees: bool, exact: bool) -> str:
    """Return what a reader must know about where the row comes from, or about a row that it does not come from."""
    if seed is not None and not exact:
        rows = f"v{table.version} starts from a seed, made of the rows of v{seed.base}"
        folded = "its own code has folded only what came after the seed"
        if seed.kind == "range":
            folded = "its own code has folded only the events in the seed's range, and what came after the seed"
        equal = "equals" if agrees else "differs from"
        return f"{rows}; {folded}. A replay of all events by its code, as told here, {equal} the stored row"
    if agrees and seed is not None:
        return (
            f"v{table.version} counts by its own code what lies in the range of its seed and what came after the seed, "
            f"and all other events by that of v{seed.base}; so do these lines"
        )
    if agrees:
        return ""
    return (
        "THE STORED ROW IS NOT WHAT THESE EVENTS MAKE. Either the view's code is not deterministic (kappa check), "
        "or this is a mistake in kappa: please report it"
    )
