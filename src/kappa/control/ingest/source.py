"""What ingestion knows of a source: the pieces it is read in, and the state that lets a later run go on.

Plain values. A piece is what can become events or be rejected: a line, or a row as a JSON object.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kappa.errors import ProjectError


class SourceState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a source stands. The log keeps it, moving it together with the records that came from before it.

    Attributes:
        place: Where to go on: a byte offset, a row number in Parquet, or an offset of a topic's partition.
        line: How many lines or rows lie before it.
        appended: How many events the log took from before it.
        prefix_bytes: How many bytes of the source `fingerprint` covers; the whole file in Parquet.
        fingerprint: Of those bytes, so that a file that was replaced is not taken for one that has grown; of a topic,
            its identity, for the same reason.
        mapping: How pieces became events, for a later retry of rejected ones; see `mapping.describe`.
    """

    place: int = 0
    line: int = 0
    appended: int = 0
    prefix_bytes: int = 0
    fingerprint: str = ""
    mapping: str = ""

    def encode(self) -> str:
        """Return the text that the log keeps."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str | None, *, source: str) -> SourceState:
        """Return the state that the log kept, or that of a new source.

        Raises:
            ProjectError: The text was written by something else, for example a later release.
        """
        if text is None:
            return cls()
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ProjectError(f"cannot read where source '{source}' stands: {error}") from error


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A line, a row, or a record of a topic.

    Attributes:
        place: Byte offset, row number or the record's offset; unique in the source.
        line: Line or row number, from 1; a record's offset plus 1.
        value: Its bytes; of one that cannot be used, the first `KEPT_BYTES_MAX`.
        size_bytes: Its whole size.
        fault: Why the reader could not make it out, or None.
    """

    place: int
    line: int
    value: bytes
    size_bytes: int
    fault: str | None = None


class Block(msgspec.Struct, frozen=True, gc=False):
    """Pieces that belong into one append.

    Attributes:
        pieces: In the source's order; may be empty.
        state: The state once they are appended; `appended` is left to the caller.
        complete: False if the last piece has no end yet: the source may still grow. It is then the only one.
    """

    pieces: Sequence[Piece]
    state: SourceState
    complete: bool = True


# What is kept of rejected input.
KEPT_BYTES_MAX = 64 * 1024
# About 50,000 events. A transaction of Kafka's takes a tenth of a second, whatever is in it; and a slow line still
# takes a block of this size in the time that an append may last. No more is read again after a crash.
BLOCK_BYTES = 8 * 1024 * 1024
BLOCK_PIECES_MAX = 50_000
