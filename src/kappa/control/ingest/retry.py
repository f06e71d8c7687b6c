"""Try rejected input again with today's code, and append what has become an event: never twice, and at the log's end.

A piece is appended under the source's name plus `RETRIED`; that source's state names the pieces of its last append, so
that a run killed between appending them and forgetting their rejection is repaired by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from kappa.control.ingest.envelope import EventReader, NotAnEvent
from kappa.control.ingest.ingestion import REASONS_MAX
from kappa.control.ingest.mapping import InputMapping
from kappa.control.ingest.source import SourceState
from kappa.model.records import NewRecord, Source
from kappa.ports.control import ControlStore, RejectedInput
from kappa.ports.log import Log

RETRIED = " (retried)"
# Their places, up to 20 digits each, must fit into the 4 KiB that a log keeps of a source's state.
_PIECES_MAX = 150


class RetryReport(msgspec.Struct, frozen=True):
    """What has become of rejected pieces so far.

    Attributes:
        accepted: Pieces that are in the log now.
        appended: Events that they became.
        refused: Pieces that still cannot be used.
        reasons: The first of those, with today's reason, at most `REASONS_MAX`.
    """

    accepted: int = 0
    appended: int = 0
    refused: int = 0
    reasons: tuple[RejectedInput, ...] = ()


class Retry:
    """Tries rejected input again."""

    def __init__(
        self, *, log: Log, control: ControlStore, reader: EventReader, mapping: Callable[[str], InputMapping]
    ) -> None:
        """`mapping` returns the mapping of a name that a source's state holds; it may raise `KappaError`."""
        self._log, self._control, self._reader, self._mapping = log, control, reader, mapping
        self._report = RetryReport()

    def one(self, source: str, place: int) -> RetryReport:
        """Try one piece; nothing is reported if it is not there (any more)."""
        self._repair(source)
        for entry in self._control.rejected(limit=1, source=source, after=(source, place - 1)):
            if entry.place == place:
                self._try(source, [entry])
        return self._report

    def all(self) -> Iterator[RetryReport]:
        """Try everything, and report after each transaction, the last time at the end."""
        after: tuple[str, int] | None = None
        repaired: str | None = None
        while entries := self._control.rejected(limit=_PIECES_MAX, after=after):
            source = entries[0].source
            if source != repaired:
                self._repair(source)
                repaired = source
                continue
            batch = [entry for entry in entries if entry.source == source]
            after = (source, batch[-1].place)
            self._try(source, batch)
            yield self._report
        yield self._report

    def _repair(self, source: str) -> None:
        """Forget the pieces of the last append, had the run that made it no time to."""
        if state := self._log.source_state(source + RETRIED):
            for place in msgspec.json.decode(state, type=list[int]):
                self._control.accept(source, place)

    def _try(self, source: str, entries: Sequence[RejectedInput]) -> None:
        kept = self._log.source_state(source)
        state = SourceState.decode(kept, source=source)
        mapping = self._mapping(state.mapping)
        records: list[NewRecord] = []
        accepted: list[int] = []
        refused: list[RejectedInput] = []
        for entry in entries:
            try:
                records += self._records(entry, state if kept else None, mapping)
                accepted.append(entry.place)
            except NotAnEvent as error:
                refused.append(msgspec.structs.replace(entry, reason=str(error)))
        if accepted:
            name = source + RETRIED
            expected = self._log.source_state(name)
            moved = msgspec.json.encode(accepted).decode()
            self._log.append(records, source=Source(name, expected=expected, state=moved))
            for place in accepted:
                self._control.accept(source, place)
        before = self._report
        self._report = RetryReport(
            accepted=before.accepted + len(accepted),
            appended=before.appended + len(records),
            refused=before.refused + len(refused),
            reasons=(*before.reasons, *refused)[:REASONS_MAX],
        )

    def _records(self, entry: RejectedInput, state: SourceState | None, mapping: InputMapping) -> list[NewRecord]:
        if state is None:
            raise NotAnEvent("it does not come from `kappa ingest`: the event is in the log already")
        if entry.place >= state.place:
            raise NotAnEvent("it ends its source, and the next `kappa ingest` reads it again")
        if len(entry.value) < entry.size_bytes:
            raise NotAnEvent(f"only its first {len(entry.value):,} of {entry.size_bytes:,} bytes were kept")
        return [record for _, record in mapping.events(entry.value, self._reader)]
