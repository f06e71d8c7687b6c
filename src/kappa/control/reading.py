"""Read what is served: a row by its key, from the version that serves it, or an answer to SQL, from the primaries.

The release is read once per read, so no answer mixes versions. A version whose rows were deleted between that and the
read is noticed, and everything is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from kappa.control.readiness import known_version
from kappa.errors import InputError, StoreUnavailable, VersionNotFound
from kappa.model.schema import BadKey, Column, ColumnType, ViewTable, decode_key, encode_key
from kappa.planning.releases import primary_of, serving
from kappa.ports import ControlStore, QueryResult, Release, StoredRow, ViewStore

T = TypeVar("T")

# View -> version -> its table.
Tables = Mapping[str, Mapping[int, ViewTable]]


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row, and where it is true.

    Attributes:
        view, version: Which version it is read from.
        columns: Column name -> value, key columns first; JSON columns decoded.
        partition, offset: The last event folded into it.
        canary: Whether it is served by a candidate that has a share of the keys.
    """

    view: str
    version: int
    columns: Mapping[str, Any]
    partition: int
    offset: int
    canary: bool = False


def read_row(
    view: str, key: Sequence[str], *, control: ControlStore, views: ViewStore, version: int | None = None
) -> Row:
    """Return the row of a key, whose values are given as text.

    Args:
        view: The view.
        key: The values of its key columns.
        control: Says who serves the key.
        views: Holds the rows.
        version: The version to read, whoever serves; by default the one that serves the key.

    Raises:
        ViewNotFound: No such view is served.
        VersionNotFound: There is no such version, or its rows are deleted.
        InputError: The key has other parts, or there is no such row.
    """
    if version is not None:
        table = _stored_table(control, view, version)
        return _row(views.get(table, record_key(key, table)), table, key)

    def read(release: Release, tables: Tables) -> tuple[StoredRow | None, ViewTable, bool]:
        primary = primary_of(release, view)
        number = serving(release, view, record_key(key, tables[view][primary]))
        table = tables[view][number]
        return views.get(table, record_key(key, table)), table, number != primary

    stored, table, canary = _read_served(control, read)
    return _row(stored, table, key, canary=canary)


def read_query(sql: str, *, control: ControlStore, views: ViewStore, rows_max: int, timeout_s: float) -> QueryResult:
    """Answer a read-only query over the primary versions, all of one release.

    Raises:
        QueryError: The query cannot be answered.
    """

    def read(release: Release, tables: Tables) -> QueryResult:
        served = _primary_tables(release, tables)
        return views.query(sql, views=served, rows_max=rows_max, timeout_s=timeout_s)

    return _read_served(control, read)


def _read_served(control: ControlStore, read: Callable[[Release, Tables], T]) -> T:
    """Return what `read` finds; read again if a version that it may have read was deleted meanwhile.

    A version is retired before its rows are deleted, and not retired while a release names it.
    """
    while True:
        release = control.release()
        try:
            answer = read(release, _tables(control))
        except StoreUnavailable:
            if not _lost_one(control, release):
                raise
        else:
            if not _lost_one(control, release):
                return answer


def _lost_one(control: ControlStore, release: Release) -> bool:
    """Say whether a version that `release` names is retired by now."""
    return control.release().revision != release.revision and any(
        version.retired_at is not None
        for version in control.versions()
        if release.names(version.table.view, version.table.version)
    )


def _tables(control: ControlStore) -> Tables:
    tables: dict[str, dict[int, ViewTable]] = {}
    for version in control.versions():
        tables.setdefault(version.table.view, {})[version.table.version] = version.table
    return tables


def _primary_tables(release: Release, tables: Tables) -> dict[str, ViewTable]:
    return {view: tables[view][number] for view, number in sorted(release.primaries.items())}


def _stored_table(control: ControlStore, view: str, number: int) -> ViewTable:
    primary_of(control.release(), view)
    version = known_version(control, view, number)
    if version.dropped_at is not None:
        raise VersionNotFound(view=view, version=number, reason="was retired, and its rows are deleted")
    return version.table


def _row(stored: StoredRow | None, table: ViewTable, key: Sequence[str], *, canary: bool = False) -> Row:
    if stored is None:
        raise InputError(
            f"view '{table.view}' has no row for {_shown_key(key, table)}",
            next_step="check the spelling; `kappa status` says whether the view has caught up",
        )
    columns = {
        column.name: msgspec.json.decode(value) if column.type is ColumnType.JSON and value is not None else value
        for column, value in zip(table.all_columns, stored.columns, strict=True)
    }
    return Row(table.view, table.version, columns, stored.partition, stored.offset, canary)


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
