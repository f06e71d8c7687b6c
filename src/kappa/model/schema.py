"""What a view looks like from outside: its columns, its key, its table. Pure values; any store can build from them.

Column values travel as plain Python: str, int, float, bool, Decimal, aware UTC datetime, date; JSON columns as text
that is already encoded, so that every store holds the same bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class ColumnType(StrEnum):
    """The types a public column can have."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    TIMESTAMP = "timestamp"
    DATE = "date"
    JSON = "json"


class Column(msgspec.Struct, frozen=True):
    """One public column."""

    name: str
    type: ColumnType
    nullable: bool = False


class ViewTable(msgspec.Struct, frozen=True):
    """The table of one version of one view.

    Attributes:
        view: The view's name, for example `user_profile`.
        version: From 1.
        key: The columns of the key, TEXT or INTEGER, in key order; never null.
        columns: The other public columns.
        log: The log the version reads.
        partition_count: Of that log.
        group_count: Partition groups; each has one worker. Group g owns partitions g, g + group_count, ...
    """

    view: str
    version: int
    key: tuple[Column, ...]
    columns: tuple[Column, ...]
    log: str
    partition_count: int
    group_count: int

    @property
    def name(self) -> str:
        """The table's name, for example `user_profile__v1`."""
        return f"{self.view}__v{self.version}"

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Key columns, then the others: the order of `RowChange.columns`."""
        return self.key + self.columns

    def group_of(self, partition: int) -> int:
        """Return the group that owns a partition."""
        return partition % self.group_count


class BadKey(ValueError):
    """A record key cannot be read as the view's key; the message says what was expected."""


def encode_key(values: tuple[Any, ...]) -> bytes:
    """Return the record key of key values: one value as plain text, several as a JSON array.

    >>> encode_key(("UA",)), encode_key((42,)), encode_key(("UA", 3))
    (b'UA', b'42', b'["UA",3]')
    """
    if len(values) == 1:
        return str(values[0]).encode()
    return msgspec.json.encode(values)


def decode_key(key: bytes, columns: tuple[Column, ...]) -> tuple[Any, ...]:
    """Return the key values that a record key holds; the inverse of `encode_key`.

    Raises:
        BadKey: The bytes are not a key of these columns.

    >>> decode_key(b'["UA",3]', (Column("carrier", ColumnType.TEXT), Column("month", ColumnType.INTEGER)))
    ('UA', 3)
    """
    try:
        if len(columns) == 1:
            text = key.decode()
            values: tuple[Any, ...] = (int(text) if columns[0].type is ColumnType.INTEGER else text,)
        else:
            kinds = tuple(int if column.type is ColumnType.INTEGER else str for column in columns)
            values = msgspec.json.decode(key, type=tuple.__class_getitem__(kinds))
        canonical = encode_key(values)
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise _bad_key(key, columns) from error
    if any(type(value) is int and not -(2**63) <= value < 2**63 for value in values):
        raise _bad_key(key, columns)  # no store holds larger numbers
    if canonical != key:
        # "007" and "7" are different keys in the log but would be one row: refuse all but the canonical form.
        raise BadKey(f"expected the canonical key {canonical[:80]!r}, got {key[:80]!r}")
    return values


def _bad_key(key: bytes, columns: tuple[Column, ...]) -> BadKey:
    shape = ", ".join(f"{column.name}: {column.type}" for column in columns)
    return BadKey(f"expected a key of ({shape}), got {key[:80]!r}")
