"""Open an input: a file or standard input, in one of the formats that can be ingested."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import msgspec

from kappa.control.ingest.lines import read_ndjson
from kappa.control.ingest.rows import read_csv, read_parquet
from kappa.control.ingest.source import BLOCK_PIECES_MAX, Block, SourceState
from kappa.errors import InputError


class InputFormat(StrEnum):
    """How input is laid out."""

    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class Input(msgspec.Struct, frozen=True):
    """Where events come from.

    Attributes:
        file: An existing file, or None for standard input.
        format: How it is laid out.
        source: Its name in the log.
        pieces_max: How many lines or rows are appended in one transaction.
    """

    file: Path | None
    format: InputFormat
    source: str
    pieces_max: int = BLOCK_PIECES_MAX

    def size_bytes(self) -> int | None:
        """Return how long it is, or None if that is not known, or not what progress is counted in."""
        if self.file is None or self.format is InputFormat.PARQUET:
            return None
        return self.file.stat().st_size

    def blocks(self, state: SourceState, *, standard_input: BinaryIO) -> Iterator[Block]:
        """Yield what comes after `state`.

        Raises:
            InputError: It cannot be read, or what was consumed of it has changed.
        """
        try:
            if self.format is InputFormat.PARQUET:
                if self.file is None:
                    raise InputError("cannot read Parquet from standard input", next_step="name the file instead")
                yield from read_parquet(self.file, state, source=self.source, pieces_max=self.pieces_max)
            elif self.file is None:
                yield from _read_text(standard_input, self, state)
            else:
                with self.file.open("rb") as stream:
                    yield from _read_text(stream, self, state)
        except OSError as error:
            raise InputError(f"cannot read '{self.file or '-'}': {error.strerror or error}") from error


def format_of(file: Path | None) -> InputFormat:
    """Return the format that a file's name says; NDJSON if it says nothing.

    >>> format_of(Path("flights.csv")), format_of(Path("events.jsonl")), format_of(None)
    (<InputFormat.CSV: 'csv'>, <InputFormat.NDJSON: 'ndjson'>, <InputFormat.NDJSON: 'ndjson'>)
    """
    suffix = "" if file is None else file.suffix.lower().removeprefix(".")
    return InputFormat(suffix) if suffix in set(InputFormat) else InputFormat.NDJSON


def _read_text(stream: BinaryIO, given: Input, state: SourceState) -> Iterator[Block]:
    read = read_csv if given.format is InputFormat.CSV else read_ndjson
    return read(stream, state, source=given.source, pieces_max=given.pieces_max)
