"""Read tables row by row: CSV and Parquet. A row becomes a piece: a JSON object of its columns.

In CSV every value is text, and a place is a byte offset, as for lines. In Parquet values keep their kind as far as
JSON has it (dates and times become ISO 8601 text, decimals text), and a place is a row number. A Parquet file does not
grow: its fingerprint covers all of it.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from kappa.control.ingest.lines import LineReader, Mark, check_unchanged
from kappa.control.ingest.source import BLOCK_BYTES, BLOCK_PIECES_MAX, KEPT_BYTES_MAX, Block, Piece, SourceState
from kappa.errors import InputError
from kappa.ports.log import RECORD_BYTES_MAX


def read_csv(
    stream: BinaryIO, state: SourceState, *, source: str, pieces_max: int = BLOCK_PIECES_MAX
) -> Iterator[Block]:
    """Yield the rows after `state`; the first row of the input names the columns.

    Raises:
        InputError: There is no header, or the consumed part has changed.
    """
    rows = _CsvRows(LineReader(stream), source=source)
    rows.reader.skip_to(state, source=source)
    pieces: list[Piece] = []
    start = rows.reader.place
    while piece := rows.next_piece():
        if not rows.ended:
            yield Block(pieces, rows.start.apply(state))
            yield Block([piece], rows.reader.mark().apply(state), complete=False)
            return
        pieces.append(piece)
        if len(pieces) == pieces_max or rows.reader.place - start >= BLOCK_BYTES:
            yield Block(pieces, rows.reader.mark().apply(state))
            pieces, start = [], rows.reader.place
    if rows.reader.place > start:
        yield Block(pieces, rows.reader.mark().apply(state))


class _CsvRows:
    """Rows of a CSV file, each knowing the place where it starts.

    Attributes:
        start: Where the row read last begins.
        ended: Whether that row has an end: a line end outside quotes.
    """

    def __init__(self, reader: LineReader, *, source: str) -> None:
        self.reader = reader
        self.start: Mark = reader.mark()
        self.ended = True
        self._raw = bytearray()
        # A quote that is never closed makes a row of all that follows; this is where it is cut off.
        csv.field_size_limit(RECORD_BYTES_MAX)
        self._parser = csv.reader(self, strict=True)
        self._columns = self._header(source)

    def next_piece(self) -> Piece | None:
        """Return the next row that is not blank, or None at the end."""
        while True:
            self.start = self.reader.mark()
            self._raw.clear()
            try:
                values = next(self._parser)
            except StopIteration:
                return None
            except (csv.Error, _BadText) as error:
                return self._piece(bytes(self._raw), fault=f"Expected CSV, got a fault: {error}")
            if not values:
                continue
            if len(values) != len(self._columns):
                fault = f"Expected {len(self._columns)} columns, got {len(values)}"
                return self._piece(bytes(self._raw), fault=fault)
            return self._piece(msgspec.json.encode(dict(zip(self._columns, values, strict=True))))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Give the parser its next line."""
        line = self.reader.next_line()
        if line is None:
            self.ended = False
            raise StopIteration
        self.ended = line.ended
        text = b"\n" + line.value if self._raw else line.value
        self._raw += text[: KEPT_BYTES_MAX - len(self._raw)]
        if line.fault:
            raise _BadText(line.fault)
        try:
            return line.value.decode() + "\n"
        except UnicodeDecodeError as error:
            raise _BadText(f"Expected UTF-8, got {error.object[error.start : error.end]!r}") from error

    def _piece(self, value: bytes, *, fault: str | None = None) -> Piece:
        cut = fault is not None and len(value) == KEPT_BYTES_MAX
        size_bytes = self.reader.place - self.start.place if cut else len(value)
        return Piece(self.start.place, self.start.line + 1, value, size_bytes, fault)

    def _header(self, source: str) -> list[str]:
        columns: list[str] | None = []
        try:
            while columns == []:
                columns = next(self._parser, None)
        except (csv.Error, _BadText) as error:
            raise InputError(f"cannot read the header of '{source}': {error}") from error
        columns = columns or []
        if "" in columns or len(set(columns)) < len(columns):
            raise InputError(
                f"the header of '{source}' must name each column once, got {', '.join(columns)}",
                next_step="put a line of column names before the rows",
            )
        return columns


class _BadText(ValueError):
    """A line that is too long or not UTF-8."""


def read_parquet(file: Path, state: SourceState, *, source: str, pieces_max: int = BLOCK_PIECES_MAX) -> Iterator[Block]:
    """Yield the rows after `state`.

    Raises:
        InputError: DuckDB is not installed, the file is not Parquet, or it has changed since it was ingested.
    """
    try:
        import duckdb  # noqa: PLC0415 - an optional extra, and slow to import
    except ImportError as error:
        raise InputError(
            "reading Parquet needs DuckDB, which is not installed",
            next_step="install the extra: pip install 'kappa-pipeline[parquet]'",
        ) from error

    whole = msgspec.structs.replace(state, prefix_bytes=file.stat().st_size, fingerprint=_fingerprint(file))
    if state.place > 0:
        check_unchanged(whole, state, source=source)
    # Rows come in the file's order, as a stream; ORDER BY would hold all of them in memory.
    sql = "SELECT * FROM read_parquet(?, file_row_number = true) WHERE file_row_number >= ?"
    try:
        with duckdb.connect() as connection:
            # Times with a zone become text in the session's zone: let it be the same everywhere.
            connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true")
            rows = connection.execute(sql, [str(file), state.place])
            *columns, _ = (column[0] for column in rows.description or ())
            while batch := rows.fetchmany(pieces_max):
                pieces = [_row_piece(columns, row) for row in batch]
                end = pieces[-1].line
                yield Block(pieces, msgspec.structs.replace(whole, place=end, line=end))
    except duckdb.Error as error:
        raise InputError(f"cannot read '{file}' as Parquet: {error}") from error


def _row_piece(columns: list[str], row: tuple[Any, ...]) -> Piece:
    *values, number = row
    value = msgspec.json.encode(dict(zip(columns, values, strict=True)))
    return Piece(number, number + 1, value, len(value))


def _fingerprint(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
