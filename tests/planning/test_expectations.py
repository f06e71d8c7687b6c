"""What the author of a view expects of a diff: how it is declared, and when it is met."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.refusals import refused

from kappa import Event, View, count
from kappa.model.expectations import FORMS, changed_percent_max
from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.model.views import view_spec
from kappa.planning.expectations import judge, sentence
from kappa.planning.tally import Tally


class Sold(Event):
    shop: str


def tally(*, equal: int = 0, changed: int = 0, only_left: int = 0, only_right: int = 0) -> Tally:
    """Return what a diff of views with the columns `sales` and, in the right one only, `returns` has counted."""
    key, sales, returns = (
        Column("shop", ColumnType.TEXT),
        Column("sales", ColumnType.INTEGER),
        Column("returns", ColumnType.INTEGER),
    )
    left = ViewTable("shop", 1, (key,), (sales,), "events", 1, 1)
    right = ViewTable("shop", 2, (key,), (sales, returns), "events", 1, 1)
    counted = Tally(left, right, samples_max=3)
    rows = [
        *[((1,), (1, 0))] * equal,
        *[((1,), (2, 0))] * changed,
        *[((1,), None)] * only_left,
        *[(None, (1, 0))] * only_right,
    ]
    for at, (before, after) in enumerate(rows):
        name = f"shop{at}"
        counted.add(
            name.encode(),
            None if before is None else (name, *before),
            None if after is None else (name, *after),
            place=(0, 1),
        )
    return counted


def met(name: str, expected: str, counted: Tally) -> bool:
    [verdict] = judge({name: expected}, counted)
    return verdict.met


def test_expectations_are_declared_with_the_view() -> None:
    class Shop(View, key="shop", expect={"sales": "unchanged", "rows": "changes in at most 5 %"}):
        sales: int = count(Sold)

    assert view_spec(Shop).expect == {"sales": "unchanged", "rows": "changes in at most 5 %"}


def test_a_view_without_expectations_has_none() -> None:
    class Shop(View, key="shop"):
        sales: int = count(Sold)

    assert view_spec(Shop).expect == {}


def test_an_expectation_of_no_column_is_refused_where_the_view_is_declared() -> None:
    message = "view Shop expects something of 'sale', which is no column outside its key"
    with refused(message, "name one of: sales; or rows"):

        class Shop(View, key="shop", expect={"sale": "unchanged"}):  # wrong
            sales: int = count(Sold)
            _hidden: int = 0


@pytest.mark.parametrize(
    "text", ["the same", "changes in at most 101 %", "changes in at most -1 %", "Unchanged", "", 5]
)
def test_words_that_are_no_expectation_are_refused(text) -> None:
    with refused(f"view Shop has expect={{'sales': {text!r}}}: expected {FORMS}", f"write {FORMS}"):

        class Shop(View, key="shop", expect={"sales": text}):  # wrong
            sales: int = count(Sold)


def test_expectations_that_are_no_dict_are_refused() -> None:
    with refused("view Shop has expect=['sales'], which is no dict", 'write expect={"sales": "unchanged"}'):

        class Shop(View, key="shop", expect=["sales"]):  # wrong
            sales: int = count(Sold)


def test_unchanged_means_for_no_key() -> None:
    assert met("sales", "unchanged", tally(equal=3))
    assert not met("sales", "unchanged", tally(equal=99_999, changed=1))


def test_a_share_is_of_the_keys_that_both_versions_have() -> None:
    assert met("sales", "changes in at most 25 %", tally(equal=3, changed=1, only_right=9))
    assert not met("sales", "changes in at most 25 %", tally(equal=2, changed=1))


def test_rows_are_unchanged_if_no_version_has_a_key_that_the_other_lacks() -> None:
    assert met("rows", "unchanged", tally(equal=1, changed=3))
    assert not met("rows", "unchanged", tally(equal=9, only_left=1))
    assert not met("rows", "unchanged", tally(equal=9, only_right=1))
    assert met("rows", "changes in at most 20 %", tally(equal=8, only_left=1, only_right=1))


def test_of_a_new_column_nothing_can_be_broken() -> None:
    [verdict] = judge({"returns": "unchanged"}, tally(equal=1, changed=1))

    assert (verdict.met, verdict.found) == (True, "there is no such column in both versions")


def test_two_views_without_rows_differ_in_nothing() -> None:
    assert met("rows", "unchanged", tally())
    assert met("sales", "unchanged", tally())


@given(equal=st.integers(0, 50), changed=st.integers(0, 50), percent=st.integers(0, 100))
def test_every_expectation_can_be_judged_of_every_diff(equal: int, changed: int, percent: int) -> None:
    counted = tally(equal=equal, changed=changed)
    [verdict] = judge({"sales": f"changes in at most {percent} %"}, counted)

    assert verdict.met == (100 * changed <= percent * (equal + changed))
    assert sentence(verdict).startswith("sales: expected ")


@given(st.text(max_size=30))
def test_any_text_is_an_expectation_or_refused(text: str) -> None:
    try:
        assert 0 <= changed_percent_max(text) <= 100
    except ValueError as error:
        assert str(error).startswith("expected ")  # noqa: PT017 - either is right
