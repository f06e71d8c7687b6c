"""Values on their way to PostgreSQL and back. Pure but for `load_exactly`, which tells a connection how to read.

What PostgreSQL cannot hold is written in another form that says the same, and read back as it was:

- U+0000 is written as `\N{SYMBOL FOR NULL}0`, and the symbol itself twice. The state of a row is bytes, and untouched.
- JSON is of type `json`, not `jsonb`: it keeps its text.
- A name of more than 63 bytes, or of a system column, is shortened and told apart by a digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.adapt import Loader
from psycopg.pq import Format

from kappa.model.schema import ColumnType

IDENTIFIER_BYTES_MAX = 63
_SYSTEM_COLUMNS = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}

DECLARED = {
    ColumnType.TEXT: "text",
    ColumnType.INTEGER: "bigint",
    ColumnType.REAL: "double precision",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.DECIMAL: "numeric",
    ColumnType.TIMESTAMP: "timestamptz",
    ColumnType.DATE: "date",
    ColumnType.JSON: "json",
}

_MARK = "\N{SYMBOL FOR NULL}"
_ESCAPED = re.compile(f"{_MARK}([0{_MARK}])")
# What COPY in text format must not meet as it is: its separators and its escape character.
_COPY_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_TEXT_TO_COPY = str.maketrans({**_COPY_ESCAPES, "\0": f"{_MARK}0", _MARK: _MARK * 2})
_JSON_TO_COPY = str.maketrans(_COPY_ESCAPES)
_NOT_PLAIN = re.compile(f"[\\\\\t\n\r\0{_MARK}]")
_NULL = "\\N"

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_encode_time = msgspec.json.Encoder().encode


def identifier(name: str) -> str:
    """Return a name as PostgreSQL can bear it.

    >>> identifier("user_id"), identifier("xmin")
    ('user_id', 'xmin_eafb2f50')
    """
    encoded = name.encode()
    if len(encoded) <= IDENTIFIER_BYTES_MAX and name not in _SYSTEM_COLUMNS:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: IDENTIFIER_BYTES_MAX - 9].decode(errors='ignore')}_{digest}"


def escaped(text: str) -> str:
    """Return text that PostgreSQL can hold.

    >>> escaped("a" + chr(0) + "b") == "a\N{SYMBOL FOR NULL}0b", unescaped(escaped(chr(0))) == chr(0)
    (True, True)
    """
    return text.replace(_MARK, _MARK * 2).replace("\0", f"{_MARK}0")


def unescaped(text: str) -> str:
    """Return what was escaped."""
    if _MARK not in text:
        return text
    return _ESCAPED.sub(lambda match: "\0" if match[1] == "0" else _MARK, text)


def digest_of_text(text: str) -> str:
    """Return what stands for a text that is too long for an index; no escaped text ever looks like it."""
    return f"{_MARK}#{hashlib.sha256(text.encode()).hexdigest()}"


def copied(kind: ColumnType, values: Sequence[Any]) -> list[str]:
    """Return a column's values as COPY reads them."""
    return [_NULL if value is None else value for value in _COPIED[kind](values)]


def copied_integers(values: Sequence[int | None]) -> list[str]:
    """Return integers as COPY reads them."""
    return [_NULL if value is None else str(value) for value in values]


def copied_bytes(values: Sequence[bytes | None]) -> list[str]:
    """Return bytes as COPY reads them."""
    return [_NULL if value is None else "\\\\x" + value.hex() for value in values]


def _each(convert: Callable[[Any], str]) -> Callable[[Sequence[Any]], list[str | None]]:
    return lambda values: [None if value is None else convert(value) for value in values]


def _texts(translation: dict[int, str]) -> Callable[[Sequence[Any]], Sequence[str | None]]:
    def convert(values: Sequence[Any]) -> Sequence[str | None]:
        # Nearly always there is nothing to escape, and one look at all of them is ten times as fast.
        if _NOT_PLAIN.search("".join([value for value in values if value])) is None:
            return values
        return [None if value is None else value.translate(translation) for value in values]

    return convert


def _time(value: datetime) -> str:
    assert value.tzinfo is not None, value
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return _encode_time(value)[1:-1].decode()  # a sixth of the cost of isoformat


_COPIED: dict[ColumnType, Callable[[Sequence[Any]], Sequence[str | None]]] = {
    ColumnType.TEXT: _texts(_TEXT_TO_COPY),
    ColumnType.INTEGER: _each(str),
    ColumnType.REAL: _each(repr),
    ColumnType.BOOLEAN: _each(lambda value: "t" if value else "f"),
    ColumnType.DECIMAL: _each(str),
    ColumnType.TIMESTAMP: _each(_time),
    ColumnType.DATE: _each(date.isoformat),
    ColumnType.JSON: _texts(_JSON_TO_COPY),
}


class _TimeLoader(Loader):
    """A time as an aware datetime in `UTC` itself; the driver's own has another object for the same zone."""

    format = Format.BINARY

    def load(self, data: Any) -> datetime:
        return _EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))


class _WrittenTimeLoader(Loader):
    """The same of a time that comes as text."""

    format = Format.TEXT

    def load(self, data: Any) -> datetime:
        return datetime.fromisoformat(bytes(data).decode()).astimezone(UTC)


class _TextLoader(Loader):
    """A value as PostgreSQL writes it."""

    format = Format.TEXT

    def load(self, data: Any) -> str:
        return bytes(data).decode()


class _JsonLoader(_TextLoader):
    """JSON as its text."""

    format = Format.BINARY


class _TimeTextLoader(_TextLoader):
    """A time as all stores write it in answers to queries."""

    def load(self, data: Any) -> str:
        text = super().load(data)
        match = _WRITTEN_TIME.fullmatch(text)
        # Infinity and years before Christ stay as they are.
        return text if match is None else f"{match[1]}T{match[2]}.{match[3] or '':0<6}Z"


_WRITTEN_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00")
# What a query answers as Python's own; everything else is text, as PostgreSQL writes it.
_NATIVE = {"bool", "int2", "int4", "int8", "float4", "float8", "oid", "text", "name", "varchar", "bpchar"}


def load_exactly(connection: psycopg.Connection[Any]) -> None:
    """Let a connection read rows, in binary format, as they were written."""
    connection.adapters.register_loader("timestamptz", _TimeLoader)
    connection.adapters.register_loader("timestamptz", _WrittenTimeLoader)
    connection.adapters.register_loader("json", _JsonLoader)


def load_as_text(connection: psycopg.Connection[Any]) -> None:
    """Let a connection answer queries, in text format: decimals, times and whatever else PostgreSQL has as text."""
    for kind in psycopg.adapters.types:
        loader = _TimeTextLoader if kind.name == "timestamptz" else _TextLoader
        if kind.name not in _NATIVE:
            connection.adapters.register_loader(kind.oid, loader)
        if kind.array_oid:
            connection.adapters.register_loader(kind.array_oid, _TextLoader)
