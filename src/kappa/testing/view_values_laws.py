"""The laws of a view store about values: every type of column, and every key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.model.records import RowChange
from kappa.model.schema import ColumnType, ViewTable, encode_key
from kappa.ports.views import StoredRow, ViewStore
from kappa.testing.view_laws import (
    EXAMPLES,
    NUMBERED,
    ROUTES,
    TYPES,
    USERS,
    ViewLaws,
    commit,
    fresh,
)

_NO_NUL = st.characters(codec="utf-8", exclude_characters="\0")
_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_JSON = st.recursive(
    st.none() | st.booleans() | _INTEGERS | st.text(_NO_NUL),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(_NO_NUL), inner),
)
_VALUES: Mapping[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.TEXT: st.text(_NO_NUL),
    ColumnType.INTEGER: _INTEGERS,
    ColumnType.REAL: st.floats(allow_nan=False),
    ColumnType.BOOLEAN: st.booleans(),
    ColumnType.DECIMAL: st.decimals(allow_nan=False, allow_infinity=False),
    ColumnType.TIMESTAMP: st.datetimes(timezones=st.just(UTC)),
    ColumnType.DATE: st.dates(),
    ColumnType.JSON: _JSON.map(json.dumps),
}
_COLUMNS = st.tuples(*(st.none() | _VALUES[column.type] for column in TYPES.columns))


class ViewValueLaws(ViewLaws):
    """Values come back as they were."""

    @EXAMPLES
    @given(rows=st.lists(_COLUMNS, max_size=10))
    def test_every_type_of_column_comes_back_as_it_was(self, views: ViewStore, rows: list[tuple[Any, ...]]) -> None:
        fresh(views, TYPES)

        commit(views, TYPES, *(RowChange(b"%d" % n, (str(n), *columns), b"", 0, 1) for n, columns in enumerate(rows)))

        found = [views.get(TYPES, b"%d" % n) for n in range(len(rows))]
        assert [row and row.columns[1:] for row in found] == rows
        assert [row and [type(value) for value in row.columns[1:]] for row in found] == [
            [type(value) for value in columns] for columns in rows
        ]
        assert sorted(views.scan(TYPES), key=lambda row: int(row.columns[0])) == found

    @EXAMPLES
    @given(names=st.sets(st.text(_NO_NUL), max_size=10))
    def test_any_text_is_a_key(self, views: ViewStore, names: set[str]) -> None:
        self._assert_found_by_key(views, USERS, [(name,) for name in names])

    @pytest.mark.parametrize("name", ["\0", "a\0b", "a\0"])
    def test_text_with_nul_characters_is_a_key(self, views: ViewStore, name: str) -> None:
        self._assert_found_by_key(views, USERS, [(name,), ("a",), ("",)])

    @EXAMPLES
    @given(numbers=st.sets(_INTEGERS | st.sampled_from([-(2**63), 0, 2**63 - 1]), max_size=10))
    def test_any_integer_of_64_bits_is_a_key(self, views: ViewStore, numbers: set[int]) -> None:
        self._assert_found_by_key(views, NUMBERED, [(number,) for number in numbers])

    @EXAMPLES
    @given(keys=st.sets(st.tuples(st.text(_NO_NUL), _INTEGERS), max_size=10))
    def test_keys_of_several_columns_are_told_apart(self, views: ViewStore, keys: set[tuple[str, int]]) -> None:
        self._assert_found_by_key(views, ROUTES, [*keys])

    def _assert_found_by_key(self, views: ViewStore, table: ViewTable, keys: Sequence[tuple[Any, ...]]) -> None:
        fresh(views, table)
        rows = [RowChange(encode_key(key), (*key, 1), repr(key).encode(), 0, 1) for key in sorted(keys)]
        commit(views, table, *rows)

        with views.writer(table, 0, epoch=1) as writer:
            assert writer.get_many([row.key for row in rows]) == {row.key: row.state for row in rows}
        expected = {row.key: StoredRow(row.columns or (), row.state or b"", 0, 1, 0, None) for row in rows}
        assert views.get_many(table, [*reversed(expected)]) == expected
        assert {key: views.get(table, key) for key in expected} == expected

    @pytest.mark.parametrize(
        ("table", "key"),
        [
            (USERS, b"\xff"),
            (NUMBERED, b"seven"),
            (NUMBERED, b"07"),
            (NUMBERED, b"7,7"),
            (NUMBERED, b"9223372036854775808"),
            (ROUTES, b"UA"),
            (ROUTES, b'["UA", 3]'),
            (ROUTES, b'["UA",3],["UA",3]'),
        ],
    )
    def test_what_is_no_key_has_no_row(self, views: ViewStore, table: ViewTable, key: bytes) -> None:
        commit(views, NUMBERED, RowChange(b"7", (7, 1), b"s", 0, 1))
        commit(views, ROUTES, RowChange(b'["UA",3]', ("UA", 3, 1), b"s", 0, 1))

        assert (views.get(table, key), views.get_many(table, [key])) == (None, {})
        with views.writer(table, 0, epoch=1) as writer:
            assert writer.get_many([key]) == {}
