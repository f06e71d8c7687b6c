"""How the table of a view's version lies in SQLite: its schema, its statements, and its values there and back.

Pure: text and values, no connection. A tombstone is a row whose `_state` is NULL: it stays, unseen by readers, so that
an older row that arrives after the deletion meets a greater position and cannot bring the key back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from kappa.model.partitioning import group_partitions
from kappa.model.records import Progress, RowChange
from kappa.model.schema import BadKey, Column, ColumnType, ViewTable, decode_key
from kappa.ports.views import StoredRow

_DECLARED = {
    ColumnType.TEXT: "TEXT",
    ColumnType.INTEGER: "INTEGER",
    ColumnType.REAL: "REAL",
    ColumnType.BOOLEAN: "INTEGER",
    ColumnType.DECIMAL: "TEXT",
    ColumnType.TIMESTAMP: "TEXT",
    ColumnType.DATE: "TEXT",
    ColumnType.JSON: "TEXT",
}

# Of the files of versions; raise it when their schema changes.
FORMAT = 2

_OWN_COLUMNS = "_state, _partition, _offset, _step, _due"

_SCHEMA_BESIDE_ROWS = """
    CREATE TABLE progress (
        partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, watermark_us INTEGER NOT NULL,
        origins TEXT NOT NULL
    );
    CREATE TABLE dead_letters (
        partition INTEGER, offset INTEGER, key BLOB, value BLOB NOT NULL, reason TEXT NOT NULL,
        event_time_us INTEGER NOT NULL, PRIMARY KEY (partition, offset)
    );
    CREATE TABLE writer (epoch INTEGER NOT NULL);
    INSERT INTO writer VALUES (0)
"""

SELECT_PROGRESS = "SELECT partition, next_offset, watermark_us, origins FROM progress"

_INTEGERS = range(-(2**63), 2**63)  # what SQLite can hold


def quoted(name: str) -> str:
    """Return a name as an SQL identifier.

    >>> print(quoted('so "called" order'))
    "so ""called"" order"
    """
    return '"' + name.replace('"', '""') + '"'


def _timestamp_text(value: datetime) -> str:
    """Return a time as text of one width, so that the order of texts is the order of times.

    >>> _timestamp_text(datetime(2026, 3, 1, 12, tzinfo=UTC))
    '2026-03-01T12:00:00.000000Z'
    """
    assert value.tzinfo is not None, value
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    # A sixth of the cost of isoformat. Whole seconds are written without a fraction.
    text = _encode_time(value)[1:-2].decode()
    return f"{text}Z" if value.microsecond else f"{text}.000000Z"


_encode_time = msgspec.json.Encoder().encode

# Types that are missing here are bound, or read, as they are.
_TO_SQLITE: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.DECIMAL: str,
    ColumnType.TIMESTAMP: _timestamp_text,
    ColumnType.DATE: date.isoformat,
}
_FROM_SQLITE: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.BOOLEAN: bool,
    ColumnType.DECIMAL: Decimal,
    ColumnType.TIMESTAMP: datetime.fromisoformat,
    ColumnType.DATE: date.fromisoformat,
}


class StoredTable:
    """The statements and conversions of one version; the same for all its groups.

    Attributes:
        schema: Creates everything that one group's file holds.
        upsert: Writes a row, unless a newer one is there. Its parameters come from `parameters`.
        select_rows: All rows, as `row` takes them.
        select_row: The row of one key, whose values are the parameters.
        select_states: (place, state) of the keys in a JSON array that `wanted` makes.
        select_wanted: (place, then as `select_rows`) of those keys.
        relation: The columns that a query sees, as identifiers.
    """

    def __init__(self, table: ViewTable) -> None:
        columns = table.all_columns
        key = [quoted(column.name) for column in table.key]
        names = [quoted(column.name) for column in columns]
        self.table = table
        self.schema = _schema(columns, key)
        self.upsert = _upsert(names, key)
        self.relation = (*names, "_partition", "_offset", "_step")
        selected = ", ".join([*names, _OWN_COLUMNS])
        self.select_rows = f"SELECT {selected} FROM rows WHERE _state IS NOT NULL"  # noqa: S608 - quoted
        self.select_row = f"{self.select_rows} AND {' AND '.join(f'{name} = ?' for name in key)}"
        self.select_states = _select_wanted(key, ["_state"])
        self.select_wanted = _select_wanted(key, [*names, *_OWN_COLUMNS.split(", ")])
        self._to_sqlite = _conversions(columns, _TO_SQLITE)
        self._from_sqlite = _conversions(columns, _FROM_SQLITE)
        self._column_count = len(columns)
        self._text_key = [column.type for column in table.key] == [ColumnType.TEXT]

    def parameters(self, rows: Sequence[RowChange]) -> Iterator[tuple[Any, ...]]:
        """Return the parameters of `upsert` for at least one row. Works by column, half as costly as by row."""
        columns: list[Sequence[Any]] = list(zip(*[row.columns or self._tombstone(row) for row in rows], strict=True))
        for at, convert in self._to_sqlite:
            columns[at] = [None if value is None else convert(value) for value in columns[at]]
        return zip(
            *columns,
            [row.state for row in rows],
            [row.partition for row in rows],
            [row.offset for row in rows],
            [row.step for row in rows],
            [row.due_us for row in rows],
            strict=True,
        )

    def _tombstone(self, row: RowChange) -> tuple[Any, ...]:
        assert row.state is None, row
        return decode_key(row.key, self.table.key) + (None,) * len(self.table.columns)

    def row(self, stored: tuple[Any, ...]) -> StoredRow:
        """Return a row that `select_row` or `select_rows` found."""
        columns = list(stored[: self._column_count])
        for at, convert in self._from_sqlite:
            if columns[at] is not None:
                columns[at] = convert(columns[at])
        return StoredRow(tuple(columns), *stored[self._column_count :])

    def key_values(self, key: bytes) -> tuple[Any, ...] | None:
        """Return the values of a record key's columns, or None if no row can have such a key."""
        try:
            values = decode_key(key, self.table.key)
        except BadKey:
            return None
        return None if any(isinstance(value, int) and value not in _INTEGERS for value in values) else values

    def wanted(self, keys: Sequence[bytes]) -> str | None:
        """Return the parameter of `select_states` or `select_wanted`, or None if SQLite cannot take these keys so."""
        values: list[Any]
        if self._text_key:
            try:
                values = [key.decode() for key in keys]
            except UnicodeDecodeError:
                return None
        else:
            values = [self.key_values(key) for key in keys]
            if len(self.table.key) == 1:
                values = [None if value is None else value[0] for value in values]
        text = msgspec.json.encode(values).decode()
        # SQLite ends a JSON string at its first NUL character.
        return None if "\\u0000" in text else text


def progress_of(
    table: ViewTable, group: int | None, committed: Iterable[tuple[int, int, int, str]]
) -> dict[int, Progress]:
    """Return the progress of each partition of a group, or of all groups, from what `SELECT_PROGRESS` found."""
    partitions: Iterable[int] = range(table.partition_count)
    if group is not None:
        partitions = group_partitions(group, group_count=table.group_count, partition_count=table.partition_count)
    return dict.fromkeys(partitions, Progress()) | {
        partition: Progress(next_offset, watermark_us, _decode_origins(origins))
        for partition, next_offset, watermark_us, origins in committed
    }


_decode_origins = msgspec.json.Decoder(dict[int, int]).decode


@lru_cache(maxsize=256)
def stored_table(table: ViewTable) -> StoredTable:
    """Return the stored form of a table, made once."""
    return StoredTable(table)


def _schema(columns: Sequence[Column], key: Sequence[str]) -> str:
    declared = ", ".join(f"{quoted(column.name)} {_DECLARED[column.type]}" for column in columns)
    return f"""
        CREATE TABLE rows (
            {declared}, _state BLOB, _partition INTEGER, _offset INTEGER, _step INTEGER, _due INTEGER,
            PRIMARY KEY ({", ".join(key)})
        );
        CREATE INDEX due ON rows (_due) WHERE _due IS NOT NULL;
        CREATE INDEX tombstones ON rows (_offset) WHERE _state IS NULL;
        {_SCHEMA_BESIDE_ROWS}
    """


def _upsert(names: Sequence[str], key: Sequence[str]) -> str:
    all_names = [*names, *_OWN_COLUMNS.split(", ")]
    updates = ", ".join(f"{name} = excluded.{name}" for name in all_names if name not in key)
    return f"""
        INSERT INTO rows ({", ".join(all_names)}) VALUES ({", ".join("?" * len(all_names))})
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {updates}
        WHERE (excluded._offset, excluded._step) > (rows._offset, rows._step)
    """  # noqa: S608 - every name is quoted


def _select_wanted(key: Sequence[str], selected: Sequence[str]) -> str:
    # One JSON array is as fast as any list of parameters for 100,000 keys, and ten times as fast for one.
    # `wanted.key` is the place in the array; CROSS JOIN makes SQLite look up each wanted key and not scan the rows.
    if len(key) == 1:
        matches = f"rows.{key[0]} = wanted.value"
    else:
        matches = " AND ".join(f"rows.{name} = json_extract(wanted.value, '$[{at}]')" for at, name in enumerate(key))
    columns = ", ".join(f"rows.{name}" for name in selected)
    return f"""
        SELECT wanted.key, {columns} FROM json_each(?) AS wanted CROSS JOIN rows ON {matches}
        WHERE rows._state IS NOT NULL
    """  # noqa: S608 - every name is quoted


def _conversions(
    columns: Sequence[Column], by_type: dict[ColumnType, Callable[[Any], Any]]
) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    return tuple((at, by_type[column.type]) for at, column in enumerate(columns) if column.type in by_type)
