"""How a view's version lies in PostgreSQL: one table, its statements, and its rows there and back.

Pure: text and values, no connection. A tombstone is a row whose `_state` is NULL: it stays, unseen by readers, so that
an older row that arrives after the deletion meets a greater position and cannot bring the key back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from kappa.adapters.postgres.database import quoted
from kappa.adapters.postgres.values import (
    DECLARED,
    copied,
    copied_bytes,
    copied_integers,
    digest_of_text,
    escaped,
    identifier,
    unescaped,
)
from kappa.model.records import RowChange
from kappa.model.schema import BadKey, Column, ColumnType, ViewTable, decode_key
from kappa.ports.views import StoredRow

# An index takes keys of 2,700 bytes; instead of a longer one it gets a digest.
KEY_BYTES_MAX = 2_000

# Updates of rows stay in their page, and then touch no index, as long as there is room in it.
FILL_PERCENT = 70

# `_key` is the record key where the key columns do not show it whole, else NULL.
_OWN_COLUMNS = ("_state", "_partition", "_offset", "_step", "_due", "_key")
_OWN_DECLARED = (
    "_state bytea, _partition integer NOT NULL, _offset bigint NOT NULL, _step bigint NOT NULL, _due bigint, _key bytea"
)
_POSITION = ("_partition", "_offset", "_step")

# What all versions have in common: how far they are, what they could not fold, and who may write.
SCHEMA = """
    CREATE TABLE progress (
        table_name text, partition integer, next_offset bigint NOT NULL, watermark_us bigint NOT NULL,
        origins text NOT NULL, PRIMARY KEY (table_name, partition)
    );
    CREATE TABLE dead_letters (
        table_name text, partition integer, "offset" bigint, key bytea, value bytea NOT NULL, reason text NOT NULL,
        event_time_us bigint NOT NULL, PRIMARY KEY (table_name, partition, "offset")
    );
    CREATE TABLE writers (
        table_name text, worker_group integer, epoch bigint NOT NULL, PRIMARY KEY (table_name, worker_group)
    )
"""


class StoredTable:
    """The statements and conversions of one version.

    Attributes:
        name: The table, quoted, with its schema.
        create: Creates it, unless it is there.
        create_incoming: Creates the temporary table that rows are copied into before they are upserted.
        copy: Copies rows, which `rows_to_copy` makes, into that.
        upsert: Writes what was copied, except where a newer row is there.
        select_rows: All rows, as `row` takes them.
        select_states: (place, state) of the keys in the arrays that `wanted` makes.
        select_wanted: (place, then as `select_rows`) of those keys.
        relation: A SELECT of what a query sees.
        no_relation: The same of a table that does not exist: no row.
    """

    def __init__(self, table: ViewTable, schema: str) -> None:
        columns, key = table.all_columns, [quoted(identifier(column.name)) for column in table.key]
        names = [quoted(identifier(column.name)) for column in columns]
        declared = [f"{name} {DECLARED[column.type]}" for name, column in zip(names, columns, strict=True)]
        self.table = table
        self.name = f"{quoted(schema)}.{quoted(identifier(table.name))}"
        self.create = (
            f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(declared)}, {_OWN_DECLARED},"
            f" PRIMARY KEY ({', '.join(key)})) WITH (fillfactor = {FILL_PERCENT})"
        )
        # The schema for temporary tables comes first in every search path.
        self.create_incoming = f"CREATE TEMPORARY TABLE incoming (LIKE {self.name}) ON COMMIT DELETE ROWS"
        self.copy = f"COPY pg_temp.incoming ({', '.join([*names, *_OWN_COLUMNS])}) FROM STDIN"
        self.upsert = _upsert(self.name, [*names, *_OWN_COLUMNS], key)
        selected = ", ".join([*names, *_OWN_COLUMNS])
        self.select_rows = f"SELECT {selected} FROM {self.name} WHERE _state IS NOT NULL"  # noqa: S608 - quoted
        self.select_states = _select_wanted(self.name, table.key, ["_state"])
        self.select_wanted = _select_wanted(self.name, table.key, [*names, *_OWN_COLUMNS])
        seen = ", ".join([*names, *_POSITION])
        self.relation = f"SELECT {seen} FROM {self.name} WHERE _state IS NOT NULL"  # noqa: S608 - quoted
        self.no_relation = _no_relation(columns, names)
        self._columns = columns
        self._texts = [at for at, column in enumerate(columns) if column.type is ColumnType.TEXT]
        self._text_keys = [at for at in self._texts if at < len(table.key)]
        self._key_text_bytes_max = KEY_BYTES_MAX // max(1, len(self._text_keys))

    def rows_to_copy(self, rows: Sequence[RowChange]) -> bytes:
        """Return at least one row as `copy` reads it. Works by column, half as costly as by row."""
        columns = list(zip(*[row.columns or self._tombstone(row) for row in rows], strict=True))
        fields = [copied(column.type, values) for column, values in zip(self._columns, columns, strict=True)]
        shortened: set[int] = set()
        for at in self._text_keys:
            for place, text in enumerate(columns[at]):
                if self._too_long(text):
                    fields[at][place] = digest_of_text(text)
                    shortened.add(place)
        fields += [
            copied_bytes([row.state for row in rows]),
            copied_integers([row.partition for row in rows]),
            copied_integers([row.offset for row in rows]),
            copied_integers([row.step for row in rows]),
            copied_integers([row.due_us for row in rows]),
            copied_bytes([row.key if place in shortened else None for place, row in enumerate(rows)]),
        ]
        return ("\n".join(map("\t".join, zip(*fields, strict=True))) + "\n").encode()

    def _tombstone(self, row: RowChange) -> tuple[Any, ...]:
        assert row.state is None, row
        return decode_key(row.key, self.table.key) + (None,) * len(self.table.columns)

    def _too_long(self, text: str) -> bool:
        """Say whether a text is too long for the index. A character takes at most 6 bytes: two symbols for NULL."""
        return len(text) * 6 > self._key_text_bytes_max and len(escaped(text).encode()) > self._key_text_bytes_max

    def row(self, stored: tuple[Any, ...]) -> StoredRow:
        """Return a row that `select_rows` found."""
        *columns, state, partition, offset, step, due_us, key = stored
        for at in self._texts:
            if columns[at] is not None:
                columns[at] = unescaped(columns[at])
        if key is not None:
            columns[: len(self.table.key)] = decode_key(key, self.table.key)
        return StoredRow(tuple(columns), state, partition, offset, step, due_us)

    def wanted(self, keys: Sequence[bytes]) -> tuple[list[bytes], list[list[Any]]]:
        """Return those keys that rows can have, and the parameters of `select_states` or `select_wanted`."""
        known: list[bytes] = []
        values: list[tuple[Any, ...]] = []
        for key in keys:
            try:
                values.append(decode_key(key, self.table.key))
            except BadKey:
                continue
            known.append(key)
        columns = [[value[at] for value in values] for at in range(len(self.table.key))]
        for at in self._text_keys:
            columns[at] = [digest_of_text(text) if self._too_long(text) else escaped(text) for text in columns[at]]
        return known, columns


def found_by_key(known: Sequence[bytes], found: Iterator[tuple[Any, ...]]) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    """Yield the key and the rest of each row that begins with the place of its key."""
    for place, *rest in found:
        yield known[place - 1], tuple(rest)


@lru_cache(maxsize=256)
def stored_table(table: ViewTable, schema: str) -> StoredTable:
    """Return the stored form of a table, made once."""
    return StoredTable(table, schema)


def relations(tables: Mapping[str, ViewTable], *, schema: str, existing: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each relation, quoted, and what it selects."""
    for name, table in tables.items():
        stored = stored_table(table, schema)
        there = identifier(table.name) in existing
        yield quoted(identifier(name)), stored.relation if there else stored.no_relation


def _upsert(table: str, names: Sequence[str], key: Sequence[str]) -> str:
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    columns = ", ".join(names)
    return f"""
        INSERT INTO {table} AS stored ({columns}) SELECT {columns} FROM pg_temp.incoming
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {updates}
        WHERE (excluded._offset, excluded._step) > (stored._offset, stored._step)
    """  # noqa: S608 - every name is quoted


def _select_wanted(table: str, key: Sequence[Column], selected: Sequence[str]) -> str:
    arrays = ", ".join(f"%s::{DECLARED[column.type]}[]" for column in key)
    wanted = ", ".join(f"key{at}" for at in range(len(key)))
    matches = " AND ".join(
        f"stored.{quoted(identifier(column.name))} = wanted.key{at}" for at, column in enumerate(key)
    )
    columns = ", ".join(f"stored.{name}" for name in selected)
    return f"""
        SELECT wanted.place, {columns} FROM unnest({arrays}) WITH ORDINALITY AS wanted ({wanted}, place)
        JOIN {table} AS stored ON {matches} WHERE stored._state IS NOT NULL
    """  # noqa: S608 - every name is quoted


def _no_relation(columns: Sequence[Column], names: Sequence[str]) -> str:
    nothing = [f"NULL::{DECLARED[column.type]} AS {name}" for column, name in zip(columns, names, strict=True)]
    nothing += ["NULL::integer AS _partition", "NULL::bigint AS _offset", "NULL::bigint AS _step"]
    return f"SELECT {', '.join(nothing)} WHERE false"
