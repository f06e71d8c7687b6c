"""Which corrections a change of code allows, by kind of fold, and what is refused."""

from __future__ import annotations

import pytest
from control.seeds import Code, code

from kappa.planning.changes import compare_parts
from kappa.planning.corrections import Correction, Corrections, corrections_between

HANDLER = 'name: str = ""\n@on(Named)\ndef named(self, event):\n    self.name = {value}'


def corrections(old: Code, new: Code) -> Corrections | str:
    return corrections_between(old.view.view, new.view.view, compare_parts(old.parts, new.parts))


@pytest.mark.parametrize(
    ("fold", "correction"),
    [
        ("int = count(Paid{})", Correction.ADJUSTED),
        ("Decimal = total(Paid.amount{})", Correction.ADJUSTED),
        ("int = total(Paid.units{})", Correction.ADJUSTED),
        ("float = total(Paid.weight{})", Correction.REFOLD),
        ("Decimal | None = average(Paid.amount{})", Correction.ADJUSTED),
        ("float | None = average(Paid.units{})", Correction.ADJUSTED),
        ("float | None = average(Paid.weight{})", Correction.REFOLD),
        ("int | None = minimum(Paid.units{})", Correction.REFOLD),
        ("int | None = maximum(Paid.units{})", Correction.REFOLD),
        ("int | None = first(Paid.units{})", Correction.REFOLD),
        ("int | None = latest(Paid.units{})", Correction.REFOLD),
        ("int = distinct(Paid.units{})", Correction.REFOLD),
    ],
)
def test_only_what_is_exact_and_can_be_taken_back_is_adjusted(fold: str, correction: Correction) -> None:
    old, new = (f"n: {fold}".format(where) for where in ("", ", where=Paid.units > 1"))
    beside = HANDLER.format(value="event.name")

    found = corrections(code(old, beside), code(new, beside))

    assert isinstance(found, Corrections)
    assert found.fields == {"n": correction, "name": Correction.KEPT}
    assert found.refold is (correction is Correction.REFOLD)


OLD, NEW = "n: int = count(Paid)", "n: int = count(Paid, where=Paid.units > 1)"


@pytest.mark.parametrize(
    ("old", "new", "options"),
    [
        ([OLD, HANDLER.format(value="str(self.n)")], [NEW, HANDLER.format(value="str(self.n)")], ""),
        ([OLD, HANDLER.format(value="str(self)")], [NEW, HANDLER.format(value="str(self)")], ""),
        ([OLD, HANDLER.format(value="event.name")], [OLD, HANDLER.format(value="event.name * 2")], ""),
        ([OLD], [NEW], ', dedupe="1m"'),
        ([OLD], ["n: int = count(Paid, Named)"], ""),
    ],
    ids=["a handler reads the fold", "a handler may read it", "a handler changed", "no duplicates", "another event"],
)
def test_what_may_reach_other_fields_is_folded_again(old: list[str], new: list[str], options: str) -> None:
    found = corrections(code(*old, options=options), code(*new, options=options))

    assert isinstance(found, Corrections)
    assert found.refold
    assert "are folded again from the log's start" in found.explanation


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ([OLD], "the code is the same: it would correct nothing"),
        ([OLD, "m: int = count(Named)"], "field m is new: rows inside and outside the range would not be alike"),
        (["m: int = count(Paid)"], "field m is new: rows inside and outside the range would not be alike"),
        (["n: Decimal = total(Paid.amount)"], "field n has another shape"),
    ],
)
def test_rows_of_another_shape_are_refused(new: list[str], reason: str) -> None:
    found = corrections(code(OLD), code(*new))

    assert isinstance(found, str)
    assert found.startswith(reason)


def test_fields_that_change_places_are_refused() -> None:
    found = corrections(code(OLD, "m: int = 0"), code("m: int = 0", NEW))

    assert found == "its fields have changed places: rows inside and outside the range would not be alike"
