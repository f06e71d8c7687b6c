"""The report of a diff: how the rows of two versions of a view differ, at one position. Plain values, and JSON.

`left` is what readers see, the primary; `right` is what they would see, the candidate. Numbers are of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from kappa.model.schema import ColumnType, ViewTable

SampleKind = Literal["changed", "only-left", "only-right"]


class ColumnDiff(msgspec.Struct, frozen=True):
    """How a column that both versions have differs.

    Attributes:
        name, type: Of the column, in the right version.
        changed: For how many of the keys that both versions have.
        raised, lowered: For how many of them a number became larger, or smaller.
        largest: The largest difference of two numbers; None if there is none.
    """

    name: str
    type: ColumnType
    changed: int
    raised: int = 0
    lowered: int = 0
    largest: float | None = None


class FirstDifference(msgspec.Struct, frozen=True):
    """The first event of a key after which the two versions' rows differ.

    Attributes:
        partition, offset: Its place in the log.
        number: Which of the key's events it is, from 1.
        time: Its event time, aware UTC.
        type: Its type, as far as it has one.
        event: The event itself, or its bytes if they are no JSON.
        before: What the columns that differ were before, in both versions; None if there was no row.
        left, right: What they were after it; None if there still was no row.
        left_reason, right_reason: Why that version set the event aside; empty if it did not.
    """

    partition: int
    offset: int
    number: int
    time: datetime
    type: str | None
    event: Any
    before: Mapping[str, Any] | None
    left: Mapping[str, Any] | None
    right: Mapping[str, Any] | None
    left_reason: str = ""
    right_reason: str = ""


class Sample(msgspec.Struct, frozen=True):
    """A key whose rows differ.

    Attributes:
        kind: `changed`, or which version alone has a row.
        key: The values of the key.
        partition, end: Both rows are true there: they hold the key's events before `end`, and no other.
        left, right: Of the columns that differ, or of all if only one version has a row; None where there is none.
        cause: The event behind it, if it was looked for and found.
        not_explained: Why there is no cause; empty if there is one, or if nobody looked.
    """

    kind: SampleKind
    key: tuple[Any, ...]
    partition: int
    end: int
    left: Mapping[str, Any] | None
    right: Mapping[str, Any] | None
    cause: FirstDifference | None = None
    not_explained: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """Whether a diff shows what was expected of it.

    Attributes:
        name: A column, or `rows`.
        expected: The expectation, in its author's words.
        met: Whether it is met.
        found: What the diff shows, for people.
    """

    name: str
    expected: str
    met: bool
    found: str


class DiffReport(msgspec.Struct, frozen=True, kw_only=True):
    """How two versions differ.

    Attributes:
        view, left, right: The versions that were compared.
        position: Partition -> the position at which rows that did not move meanwhile were compared: the lesser of both.
            Each of the others was compared at the first position that both versions' rows reached.
        compared: Keys whose comparison is certain: equal + changed + only_left + only_right.
        equal, changed: Keys that both versions have, and whether their common columns are equal.
        only_left, only_right: Keys that one version has and the other has not.
        unverified: Keys that could not be compared; `notes` say why.
        columns: The columns outside the key that both versions have.
        added, removed: Columns that only the right, or only the left version has.
        dead_left, dead_right: Records that each version has set aside.
        dead_right_only: Those before `position` that the right version has set aside and the left one has not.
        samples: Some of the keys that differ; of the changed ones those with the largest relative change.
        expectations: A verdict on each expectation of the right version.
        broken: The expectations that are not met, a sentence each.
        sampled: Whether only some keys were compared, because that was asked for.
        complete: Whether every key of both versions was compared.
        notes: What people should know about it.
        taken_at: When it was complete, aware UTC.
    """

    view: str
    left: int
    right: int
    position: Mapping[int, int]
    compared: int
    equal: int
    changed: int
    only_left: int
    only_right: int
    unverified: int
    columns: tuple[ColumnDiff, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    dead_left: int
    dead_right: int
    dead_right_only: int = 0
    samples: tuple[Sample, ...]
    expectations: tuple[Verdict, ...]
    broken: tuple[str, ...]
    sampled: bool
    complete: bool
    notes: tuple[str, ...]
    taken_at: datetime


def incomparable(left: ViewTable, right: ViewTable) -> str | None:
    """Return why rows of two tables have no position in common, so that no diff can be made; None if they have."""
    if left.view != right.view:
        return "they are versions of different views"
    if left.key != right.key:
        return "one is keyed by {}, the other by {}".format(
            *(", ".join(f"{column.name} ({column.type})" for column in table.key) for table in (left, right))
        )
    logs = [f"{table.log} in {table.partition_count} partitions" for table in (left, right)]
    if logs[0] != logs[1]:
        return f"one reads {logs[0]}, the other {logs[1]}"
    return None
