"""The words for a change: what its author calls it, once."""

from __future__ import annotations

import pytest

from kappa.planning.changes import compare_parts
from kappa.planning.wording import change_sentences

INT = '<class \'int\'> = 0, {"type":"integer"}'
TEXT = 'str | None = null, {"anyOf":[{"type":"string"},{"type":"null"}]}'


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"key": "('carrier',)"}, {"key": "('origin', 'dest')"}, ["its key is now origin, dest, was carrier"]),
        ({"fold n": "count(A)"}, {"fold n": "count(B)"}, ["fold n: count(A) is now count(B)"]),
        ({}, {"fold n": "count(A)", "field n": INT}, ["fold n is new: count(A)"]),
        ({"fold n": "count(A)", "field n": INT}, {}, ["fold n is gone"]),
        (
            {"fold n": "count(A)", "field n": INT},
            {"fold m": "count(A)", "field m": INT},
            ["fold n is called m now"],
        ),
        (
            {"fold m": "average(A.x)", "field _m_total": INT},
            {"fold m": "total(A.x)"},
            ["fold m: average(A.x) is now total(A.x)"],
        ),
        ({}, {"field city": TEXT}, ["field city is new: str | None = null"]),
        ({"field n": INT}, {"field n": TEXT}, ["field n: int = 0 is now str | None = null"]),
        ({}, {"field _seen": INT}, ["field _seen is new: int = 0"]),
        (
            {"event A": "version 1: {}"},
            {"event A": "version 2: {}"},
            ["event A has changed: its fields, their defaults or its version"],
        ),
        (
            {"code shop.tax": "1"},
            {"code shop.tax": "2"},
            ["code shop.tax has changed, which handler sold and handler paid run"],
        ),
        ({"code shop.View.sold": "1"}, {"code shop.View.sold": "2"}, ["code shop.View.sold has changed"]),
        ({"package pytz": "1"}, {"package pytz": "2"}, ["package pytz is version 2 now, was 1"]),
        ({"state format": "1"}, {"state format": "2"}, ["kappa stores its state in another format"]),
    ],
)
def test_each_change_is_said_once(before: dict[str, str], after: dict[str, str], said: list[str]) -> None:
    users = {"shop.tax": ("handler sold", "handler paid"), "shop.View.sold": ("handler sold",)}

    assert list(change_sentences(compare_parts(before, after), users=users)) == said


def test_two_folds_with_the_same_text_are_not_taken_for_renamed() -> None:
    changes = compare_parts({"fold a": "count(A)", "fold b": "count(A)"}, {"fold c": "count(A)"})

    assert list(change_sentences(changes, users={})) == ["fold c is new: count(A)", "fold a is gone", "fold b is gone"]
