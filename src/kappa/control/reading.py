"""Read what is served: the primary version's rows, by key or by SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kappa.errors import InputError, ViewNotFound
from kappa.model.schema import BadKey, Column, ColumnType, ViewTable, decode_key, encode_key
from kappa.ports import ControlStore, ViewStore


class Row(msgspec.Struct, frozen=True):
    """A row, and where it is true.

    Attributes:
        columns: Column name -> value, key columns first; JSON columns decoded.
        partition, offset: The last event folded into it.
    """

    view: str
    version: int
    columns: Mapping[str, Any]
    partition: int
    offset: int


def served_tables(control: ControlStore) -> dict[str, ViewTable]:
    """Return the primary version's table of each view that has one."""
    primaries = control.release().primaries
    return {
        version.table.view: version.table
        for version in control.versions()
        if primaries.get(version.table.view) == version.table.version
    }


def served_table(control: ControlStore, view: str) -> ViewTable:
    """Return the table of a view's primary version.

    Raises:
        ViewNotFound: There is none.
    """
    tables = served_tables(control)
    if view not in tables:
        raise ViewNotFound(view=view, known=tuple(tables))
    return tables[view]


def read_row(view: str, key: Sequence[str], *, control: ControlStore, views: ViewStore) -> Row:
    """Return the row of a key, whose values are given as text.

    Raises:
        ViewNotFound: No such view is served.
        InputError: The key has other parts, or there is no such row.
    """
    table = served_table(control, view)
    stored = views.get(table, record_key(key, table))
    if stored is None:
        raise InputError(
            f"view '{view}' has no row for {_shown_key(key, table)}",
            next_step="check the spelling; `kappa status` says whether the view has caught up",
        )
    columns = {
        column.name: msgspec.json.decode(value) if column.type is ColumnType.JSON and value is not None else value
        for column, value in zip(table.all_columns, stored.columns, strict=True)
    }
    return Row(view, table.version, columns, stored.partition, stored.offset)


def record_key(key: Sequence[str], table: ViewTable) -> bytes:
    """Return the record key of key values that are given as text.

    Raises:
        InputError: There are too few or too many, or one is not what its column holds.
    """
    names = " ".join(column.name.upper() for column in table.key)
    if len(key) != len(table.key):
        raise InputError(
            f"view '{table.view}' has {len(table.key)} key columns, got {len(key)}",
            next_step=f"kappa get {table.view} {names}",
        )
    encoded = encode_key(tuple(_key_value(text, column) for text, column in zip(key, table.key, strict=True)))
    try:
        decode_key(encoded, table.key)
    except BadKey as error:
        raise InputError(str(error)) from error
    return encoded


def _key_value(text: str, column: Column) -> Any:
    try:
        return int(text) if column.type is ColumnType.INTEGER else text
    except ValueError as error:
        raise InputError(f"key column '{column.name}' is an integer, got '{text}'") from error


def _shown_key(key: Sequence[str], table: ViewTable) -> str:
    return ", ".join(f"{column.name} = {text}" for column, text in zip(table.key, key, strict=True))
