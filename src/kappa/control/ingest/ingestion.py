"""Append a source's events to the log: resumable, and never twice.

The log moves the source's state in the transaction that appends its records, and input is rejected before that, so
a run that is killed anywhere and started again loses nothing and adds nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from kappa.control.ingest.envelope import EventReader, NotAnEvent
from kappa.control.ingest.mapping import InputMapping
from kappa.control.ingest.source import KEPT_BYTES_MAX, Block, Piece, SourceState
from kappa.errors import InputError
from kappa.model.records import NewRecord, Source
from kappa.ports.control import ControlStore, RejectedInput
from kappa.ports.log import Log
from kappa.ports.waiting import Waiter, patiently

# Reasons shown at the end; the rest is in the control store.
REASONS_MAX = 5
# If none of so many first pieces is an event, the input is of another kind, and is refused as a whole.
_USELESS_PIECES_MIN = 1_000


class IngestReport(msgspec.Struct, frozen=True):
    """How far ingestion has come, counted in this run unless said otherwise.

    Attributes:
        source: The source's name.
        place: Where it stands: bytes, rows in Parquet, or records of a topic.
        lines: Lines or rows before that place, of all runs.
        appended: Events appended.
        already_there: Events that earlier runs had appended.
        rejected: Pieces of input that could not become events.
        reasons: The first of them, at most `REASONS_MAX`.
        types: Event type -> events appended.
        unfinished: Whether the last piece is rejected because it has no end yet: it is read again by the next run.
        end: Where the source ends, as far as that is known; in the unit of `place`.
    """

    source: str
    place: int
    lines: int
    appended: int
    already_there: int
    rejected: int
    reasons: tuple[RejectedInput, ...]
    types: Mapping[str, int]
    unfinished: bool
    end: int | None = None


class Target(msgspec.Struct, frozen=True):
    """Where events go, and how they come to be.

    Attributes:
        log: What they are appended to.
        control: What keeps the input that is rejected.
        reader: Reads what the log must know of an event.
        mapping: Makes events of input.
        waiter: Lets time pass while one of these is away.
    """

    log: Log
    control: ControlStore
    reader: EventReader
    mapping: InputMapping
    waiter: Waiter


class Ingestion:
    """One run over one source. It waits for what is away, and goes on when that returns.

    Raises:
        ProjectError: The log's state of this source cannot be read.
    """

    def __init__(self, source: str, into: Target, *, group: str = "") -> None:
        """Read where the source stands; `group` is that of `records.Source`."""
        self._source, self._group = source, group
        self._log, self._control, self._waiter = into.log, into.control, into.waiter
        self._reader, self._mapping = into.reader, into.mapping
        self._kept = patiently(self._waiter, self._log.source_state, source)
        self.state = SourceState.decode(self._kept, source=source)
        self._already_there = self.state.appended
        self._types: Counter[str] = Counter()
        self._rejected = 0
        self._reasons: list[RejectedInput] = []
        self._unfinished = False

    def run(self, blocks: Iterable[Block]) -> Iterator[IngestReport]:
        """Append blocks that were read from `self.state` on, and report after each, the last time at the end.

        Raises:
            InputError: None of the first pieces is an event.
            SourceMoved: Somebody else ingests the same source now.
            StoreUnavailable: Waiting is no help. Run again: it goes on from where it stopped.
        """
        # Whatever the last run said about an unfinished end is decided again now.
        patiently(self._waiter, self._control.accept, self._source, self.state.place)
        for block in blocks:
            self._take(block)
            yield self.report()
        yield self.report()

    def report(self) -> IngestReport:
        """Return how far it has come."""
        return IngestReport(
            source=self._source,
            place=self.state.place,
            lines=self.state.line,
            appended=self._types.total(),
            already_there=self._already_there,
            rejected=self._rejected,
            reasons=tuple(self._reasons),
            types=dict(sorted(self._types.items())),
            unfinished=self._unfinished,
        )

    def _take(self, block: Block) -> None:
        # Not piece by piece: only an unknown schema makes it wait, and then the registry is away for the rest too.
        types, records, rejected = patiently(self._waiter, self._read, block)
        if not records and len(rejected) >= _USELESS_PIECES_MIN and self.state.place == 0:
            what = f"the first {len(rejected):,} lines or records of '{self._source}'"
            raise InputError(
                f"none of {what} is an event: {rejected[0].reason}",
                where=f"line {rejected[0].line}",
                next_step="look at that line, and at the options --format, --type, --map and --wire",
            )
        if rejected:
            patiently(self._waiter, self._control.reject, rejected)
            self._rejected += len(rejected)
            self._reasons += rejected[: REASONS_MAX - len(self._reasons)]
        if rejected and not block.complete:
            self._unfinished = True
            return
        self._append(records, block.state)
        self._types.update(types)

    def _read(self, block: Block) -> tuple[list[str], list[NewRecord], list[RejectedInput]]:
        """Return a block's events by type and record, and the pieces that are none."""
        types: list[str] = []
        records: list[NewRecord] = []
        rejected: list[RejectedInput] = []
        for piece in block.pieces:
            try:
                if piece.fault is not None:
                    raise NotAnEvent(piece.fault)  # noqa: TRY301 - both ways of failing are rejected alike
                for kind, record in self._mapping.events(piece.value, self._reader):
                    types.append(kind)
                    records.append(record)
            except NotAnEvent as error:
                rejected.append(self._reject(piece, str(error), complete=block.complete))
        return types, records, rejected

    def _append(self, records: list[NewRecord], state: SourceState) -> None:
        state = msgspec.structs.replace(state, appended=self.state.appended + len(records), mapping=self._mapping.name)
        text = state.encode()
        source = Source(self._source, expected=self._kept, state=text, group=self._group)
        patiently(self._waiter, self._log.append, records, source=source)
        self.state, self._kept = state, text

    def _reject(self, piece: Piece, reason: str, *, complete: bool) -> RejectedInput:
        if not complete:
            reason = f"unfinished: the input ends here without a line end: {reason}"
        return RejectedInput(
            self._source, piece.place, piece.line, piece.value[:KEPT_BYTES_MAX], piece.size_bytes, reason
        )
