"""Compare rows of two versions of a view, and keep count.

Pure: whoever gives it two rows has made sure that both are true at one position. Numbers compare numerically whatever
their types, floats exactly, JSON by value. Memory is bounded by the samples kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import eq
from typing import Any

import msgspec

from kappa.model.schema import Column, ColumnType, ViewTable, decode_key
from kappa.model.values import FRESH
from kappa.planning.diffs import ColumnDiff, Sample, SampleKind

Columns = tuple[Any, ...]  # the values of a row's public columns, in the order of its table
_NUMBERS = {ColumnType.INTEGER, ColumnType.REAL, ColumnType.DECIMAL}


class CommonColumns:
    """The columns outside the key that two versions have, and whether their values are equal.

    Attributes:
        columns: They, as the right version has them.
        added, removed: Names of those that only the right, or only the left version has.
        numbers: Names of those that hold numbers in both.
    """

    def __init__(self, left: ViewTable, right: ViewTable) -> None:
        before = {column.name: (at, column.type) for at, column in enumerate(left.columns, len(left.key))}
        after = {column.name: (at, column) for at, column in enumerate(right.columns, len(right.key))}
        common = [(column, *before[name], at) for name, (at, column) in after.items() if name in before]
        self.columns = tuple(column for column, *_ in common)
        self.added = tuple(sorted(after.keys() - before.keys()))
        self.removed = tuple(sorted(before.keys() - after.keys()))
        self.numbers = {column.name for column, _, kind, _ in common if {column.type, kind} <= _NUMBERS}
        self._alike = left.all_columns == right.all_columns
        self._pairs = [
            (column, left_at, right_at, _equality(kind, column.type)) for column, left_at, kind, right_at in common
        ]

    def changed(self, left: Columns, right: Columns) -> list[tuple[Column, Any, Any]]:
        """Return (column, left value, right value) of the columns that differ."""
        if self._alike and left == right:
            return []
        return [
            (column, left[left_at], right[right_at])
            for column, left_at, right_at, equal in self._pairs
            if not equal(left[left_at], right[right_at])
        ]


class _Count(msgspec.Struct):
    changed: int = 0
    raised: int = 0
    lowered: int = 0
    largest: Decimal | None = None


class _Kept(msgspec.Struct, frozen=True, order=True):
    """A sample and its rank: smaller ones go first. Keys are unique, so nothing behind them is ever compared."""

    rank: Decimal
    key: bytes
    kind: SampleKind
    place: tuple[int, int]
    left: Columns | None
    right: Columns | None


class Tally:
    """Counts how the rows of two versions differ, and keeps the most telling ones.

    Attributes:
        equal, changed, only_left, only_right: Numbers of keys.
    """

    def __init__(self, left: ViewTable, right: ViewTable, *, samples_max: int) -> None:
        self.common = CommonColumns(left, right)
        self.equal = self.changed = self.only_left = self.only_right = 0
        self._tables = left, right
        self._samples_max = samples_max
        self._counts = {column.name: _Count() for column in self.common.columns}
        self._kept: dict[SampleKind, list[_Kept]] = {"changed": [], "only-left": [], "only-right": []}

    @property
    def compared(self) -> int:
        """How many keys were compared."""
        return self.equal + self.changed + self.only_left + self.only_right

    def add(self, key: bytes, left: Columns | None, right: Columns | None, *, place: tuple[int, int]) -> None:
        """Count a key by its two rows, of which at least one is there, true at `place`: (partition, end)."""
        if right is None:
            self.only_left += 1
            self._keep(_Kept(Decimal(0), key, "only-left", place, left, right))
        elif left is None:
            self.only_right += 1
            self._keep(_Kept(Decimal(0), key, "only-right", place, left, right))
        elif differences := self.common.changed(left, right):
            self.changed += 1
            change = max(self._count(*difference) for difference in differences)
            self._keep(_Kept(-change, key, "changed", place, left, right))
        else:
            self.equal += 1

    def columns(self) -> tuple[ColumnDiff, ...]:
        """Return what was counted by column."""
        return tuple(
            ColumnDiff(
                column.name,
                column.type,
                count.changed,
                count.raised,
                count.lowered,
                None if count.largest is None else float(count.largest),
            )
            for column in self.common.columns
            for count in (self._counts[column.name],)
        )

    def samples(self) -> tuple[tuple[bytes, Sample], ...]:
        """Return (record key, sample) of those keys that tell most, by kind; the same ones in every run."""
        kept = [each for found in self._kept.values() for each in sorted(found)[: self._samples_max]]
        return tuple((each.key, self._sample(each)) for each in kept)

    def _count(self, column: Column, left: Any, right: Any) -> Decimal:
        """Count a changed value and return how large its change is: relative for numbers, 1 for everything else."""
        count = self._counts[column.name]
        count.changed += 1
        if column.name not in self.common.numbers or left is None or right is None:
            return Decimal(1)
        first, second = Decimal(left), Decimal(right)
        count.raised += second > first
        count.lowered += second < first
        difference = FRESH.abs(FRESH.subtract(second, first))
        count.largest = difference if count.largest is None else max(count.largest, difference)
        return FRESH.divide(difference, max(abs(first), abs(second)))

    def _keep(self, sample: _Kept) -> None:
        found = self._kept[sample.kind]
        found.append(sample)
        if len(found) > 2 * self._samples_max + 64:
            found[:] = heapq.nsmallest(self._samples_max, found)

    def _sample(self, kept: _Kept) -> Sample:
        left, right = (
            None if values is None else named(table.all_columns, values)
            for table, values in zip(self._tables, (kept.left, kept.right), strict=True)
        )
        if left is not None and right is not None:
            assert kept.left is not None, kept
            assert kept.right is not None, kept
            names = [column.name for column, *_ in self.common.changed(kept.left, kept.right)]
            left, right = ({name: values[name] for name in names} for values in (left, right))
        return Sample(kept.kind, decode_key(kept.key, self._tables[0].key), *kept.place, left, right)


def named(columns: Sequence[Column], values: Columns) -> dict[str, Any]:
    """Return values by column name, JSON decoded."""
    return {
        column.name: msgspec.json.decode(value) if column.type is ColumnType.JSON and value is not None else value
        for column, value in zip(columns, values, strict=True)
    }


def only(values: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Any] | None:
    """Return those of some values that have one of these names, or None for no values."""
    return None if values is None else {name: values[name] for name in names if name in values}


def _equality(left: ColumnType, right: ColumnType) -> Callable[[Any, Any], bool]:
    """Return how values of two column types compare. Plain Python compares all numbers by value, exactly."""
    if ColumnType.JSON not in (left, right):
        return eq

    def equal(first: Any, second: Any) -> bool:
        if left == right and first == second:
            return True
        values = [
            msgspec.json.decode(value) if kind is ColumnType.JSON and value is not None else value
            for kind, value in ((left, first), (right, second))
        ]
        return bool(values[0] == values[1])

    return equal
