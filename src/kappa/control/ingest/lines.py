"""Read text in lines, in bounded memory, knowing the place and the fingerprint of all that was read.

It knows neither JSON nor CSV. The fingerprint covers every byte before a place, so a resumed run reads the consumed
part once more (about 1 GB/s) and is certain that it is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from kappa.control.ingest.envelope import too_large
from kappa.control.ingest.source import BLOCK_BYTES, BLOCK_PIECES_MAX, KEPT_BYTES_MAX, Block, Piece, SourceState
from kappa.errors import InputError
from kappa.ports.log import RECORD_BYTES_MAX

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_READ_BYTES = 1024 * 1024


class Line(msgspec.Struct, frozen=True, gc=False):
    """A line.

    Attributes:
        place: Byte offset of its start.
        number: From 1.
        value: Without its line end; the first `KEPT_BYTES_MAX` of one that is too long.
        size_bytes: Its whole size, without its line end.
        ended: Whether it has a line end; only the last may have none.
    """

    place: int
    number: int
    value: bytes
    size_bytes: int
    ended: bool

    @property
    def fault(self) -> str | None:
        """Why it cannot be used, whatever is in it."""
        return too_large(self.size_bytes) if self.size_bytes > RECORD_BYTES_MAX else None


class Mark(msgspec.Struct, frozen=True):
    """A place that a reader has come by, with the hash of all before it."""

    place: int
    line: int
    digest: Any

    def apply(self, state: SourceState) -> SourceState:
        """Return `state` moved here."""
        return msgspec.structs.replace(
            state, place=self.place, line=self.line, prefix_bytes=self.place, fingerprint=self.digest.hexdigest()
        )


class LineReader:
    """Reads a byte stream line by line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.blake2b(digest_size=16)
        self.place = 0
        self.line = 0
        # Where a line began that has no end: the last one, should it be unfinished.
        self.open_line_start: Mark | None = None

    def next_line(self) -> Line | None:
        """Return the next line, or None at the end."""
        place = self.place
        # The longest record still fits with its line end.
        raw = self._stream.readline(RECORD_BYTES_MAX + 2)
        if not raw:
            return None
        ended = raw.endswith(b"\n")
        if not ended:
            self.open_line_start = self.mark()
        self._consume(raw)
        self.line += 1
        value = raw.removesuffix(b"\n").removesuffix(b"\r")
        if place == 0:
            value = value.removeprefix(_BYTE_ORDER_MARK)
        size_bytes = len(value)
        if not ended and size_bytes > RECORD_BYTES_MAX:
            while not ended and (rest := self._stream.readline(_READ_BYTES)):
                ended = rest.endswith(b"\n")
                self._consume(rest)
            size_bytes = self.place - place - ended
        if size_bytes > RECORD_BYTES_MAX:
            value = value[:KEPT_BYTES_MAX]
        return Line(place, self.line, value, size_bytes, ended)

    def skip_to(self, state: SourceState, *, source: str) -> None:
        """Pass over what earlier runs have consumed, and make sure that it still is what they consumed.

        Raises:
            InputError: It is not.
        """
        if state.place == 0:
            return
        while self.place < state.place and (raw := self._stream.read(min(_READ_BYTES, state.place - self.place))):
            self._consume(raw)
        self.line = state.line
        check_unchanged(self.mark().apply(state), state, source=source)

    def mark(self) -> Mark:
        """Return the current place."""
        return Mark(self.place, self.line, self._digest.copy())

    def _consume(self, raw: bytes) -> None:
        self._digest.update(raw)
        self.place += len(raw)


def check_unchanged(found: SourceState, kept: SourceState, *, source: str) -> None:
    """Refuse a source whose consumed part is no longer what it was.

    Raises:
        InputError: It differs.
    """
    if (found.prefix_bytes, found.fingerprint) != (kept.prefix_bytes, kept.fingerprint):
        raise InputError(
            f"source '{source}' was ingested before, but the {kept.prefix_bytes:,} bytes taken then have changed",
            next_step="if this is new input, give it a name of its own: kappa ingest FILE --source NAME",
        )


def read_ndjson(
    stream: BinaryIO, state: SourceState, *, source: str, pieces_max: int = BLOCK_PIECES_MAX
) -> Iterator[Block]:
    """Yield the lines after `state`, each a piece; blank ones are passed over.

    Raises:
        InputError: The consumed part has changed.
    """
    reader = LineReader(stream)
    reader.skip_to(state, source=source)
    pieces: list[Piece] = []
    start = reader.place
    while line := reader.next_line():
        blank = not line.value.strip()
        piece = Piece(line.place, line.number, line.value, line.size_bytes, line.fault)
        if not line.ended and not blank:
            # It goes alone: should it be unfinished, what lies before it is not held back.
            assert reader.open_line_start is not None, line.place
            yield Block(pieces, reader.open_line_start.apply(state))
            yield Block([piece], reader.mark().apply(state), complete=False)
            return
        if not blank:
            pieces.append(piece)
        if len(pieces) == pieces_max or reader.place - start >= BLOCK_BYTES:
            yield Block(pieces, reader.mark().apply(state))
            pieces, start = [], reader.place
    if reader.place > start:
        yield Block(pieces, reader.mark().apply(state))
