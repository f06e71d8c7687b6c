"""Expressions over an event's fields: what they compute, with nulls as in SQL, and which make no sense."""

from __future__ import annotations

import enum
import operator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.refusals import refused

from kappa import Event
from kappa.model.expressions import Expression, to_python, type_of


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Shade(enum.Enum):
    LIGHT = 1
    DARK = 2


class Sold(Event):
    shop: str
    quantity: int
    price: Decimal
    weight: float
    gift: bool
    on_day: date
    returned: int | None = None
    damaged: bool | None = None
    discount: Decimal | None = None
    color: Color = Color.RED
    shade: Shade = Shade.DARK
    channel: Literal["web", "store"] = "web"
    tags: list[str] = []  # noqa: RUF012
    more_tags: list[str] = []  # noqa: RUF012


SOLD = {
    "shop": "Rome",
    "quantity": 7,
    "price": Decimal("2.50"),
    "weight": 0.5,
    "gift": True,
    "on_day": date(2026, 3, 1),
}


def computed(expression: Expression, **fields: Any) -> Any:
    """Return what the generated code computes for one event."""
    names: dict[str, Any] = {}
    code = to_python(expression, event="e", constants=names)
    return eval(code, {"e": Sold(**{**SOLD, **fields}), **names})  # noqa: S307 - our own source


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (Sold.quantity + 1, 8),
        (1 - Sold.quantity, -6),
        (-Sold.quantity, -7),
        (Sold.quantity * Sold.price, Decimal("17.50")),
        (2 * Sold.price, Decimal("5.00")),
        (Sold.quantity / 2, 3.5),
        (10 / Sold.quantity // 1, 1.0),
        (Sold.quantity // 2, 3),
        (Sold.quantity % 4, 3),
        (10 % Sold.quantity, 3),
        (Sold.shop + "!", "Rome!"),
        ("in " + Sold.shop, "in Rome"),
        (Sold.shop == "Rome", True),
        (Sold.shop != "Rome", False),
        ((Sold.price > 2) & (Sold.price < Decimal("2.6")), True),
        ((Sold.price > 3) | ~Sold.gift, False),
        (Sold.on_day >= date(2026, 1, 1), True),
        (Sold.timestamp == datetime(1970, 1, 1, tzinfo=UTC), True),
        (Sold.color == Color.RED, True),
        (Sold.color == "blue", False),
        (Sold.shade == Shade.DARK, True),
        (Sold.channel == "web", True),
        (Sold.tags == Sold.more_tags, True),
        (Sold.gift == 1, True),
        (Sold.returned == None, True),  # noqa: E711
        (Sold.returned != None, False),  # noqa: E711
        (Sold.returned > 1, None),
        (~(Sold.returned > 1), None),
        (Sold.returned + Sold.quantity, None),
        (Sold.damaged & Sold.gift, None),
        (Sold.damaged | Sold.gift, True),
        ((Sold.damaged | Sold.gift) == True, True),  # noqa: E712
    ],
    ids=str,
)
def test_an_expression_computes_what_it_says(expression, expected):
    result = computed(expression)

    assert (result, type(result)) == (expected, type(expected))


def test_logic_has_three_values():
    """As in SQL: what is unknown stays unknown unless the other side decides."""
    negated = {True: False, False: True, None: None}
    for left, right in product((True, False, None), repeat=2):
        fields = {"damaged": left, "returned": None if right is None else int(right)}
        both = False if False in (left, right) else None if None in (left, right) else True
        either = True if True in (left, right) else None if None in (left, right) else False

        assert computed(Sold.damaged & (Sold.returned == 1), **fields) is both
        assert computed(Sold.damaged | (Sold.returned == 1), **fields) is either
        assert computed(~Sold.damaged, **fields) is negated[left]


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        (Sold.quantity + Sold.quantity, "int"),
        (Sold.quantity / 2, "float"),
        (Sold.quantity + Sold.price, "Decimal"),
        (Sold.quantity + Sold.discount, "Decimal | None"),
        (Sold.gift + Sold.gift, "int"),
        (Sold.weight * 2, "float"),
        (Sold.returned > 1, "bool | None"),
        (Sold.returned == None, "bool"),  # noqa: E711
        (Sold.channel, "Literal['web', 'store']"),
        (Sold.channel + Sold.shop, "str"),
    ],
    ids=str,
)
def test_an_expression_knows_its_type(expression, name):
    assert str(type_of(expression)) == name


def numbers(depth: int) -> st.SearchStrategy[tuple[Expression, Any]]:
    """Pairs of an expression and a plain function of the event's fields that computes the same."""
    leaves = st.sampled_from(
        [
            (Sold.quantity, lambda e: e["quantity"]),
            (Sold.returned, lambda e: e["returned"]),
            (Sold.quantity + 0, lambda e: e["quantity"]),
        ]
    )
    if depth == 0:
        return leaves
    operators = {"+": operator.add, "-": operator.sub, "*": operator.mul}

    def combined(symbol: str, left: Any, right: Any) -> tuple[Expression, Any]:
        function = operators[symbol]

        def plain(e: dict[str, Any]) -> Any:
            one, other = left[1](e), right[1](e)
            return None if one is None or other is None else function(one, other)

        return function(left[0], right[0]), plain

    return leaves | st.builds(combined, st.sampled_from(sorted(operators)), numbers(depth - 1), numbers(depth - 1))


@given(numbers(4), st.integers(-9, 9), st.none() | st.integers(-9, 9))
def test_nested_expressions_compute_what_plain_python_does(pair, quantity, returned):
    expression, plain = pair

    result = computed(expression, quantity=quantity, returned=returned)

    assert result == plain({"quantity": quantity, "returned": returned})


def test_code_grows_no_faster_than_its_expression():
    """Each part appears once, though its nulls must be looked at."""
    condition = Sold.returned == 0
    for number in range(1, 50):
        condition = condition | (Sold.returned == number)

    code = to_python(condition, event="e", constants={})

    assert code.count("e.returned") == 50
    assert computed(condition, returned=49) is True
    assert computed(condition, returned=50) is False
    assert computed(condition, returned=None) is None


# What is refused, at the line that says it.


def test_and_instead_of_an_ampersand_is_refused():
    with refused("(Sold.quantity > 1) has no truth value", "combine conditions with & and |, and negate with ~"):
        Sold.quantity > 1 and Sold.gift == True  # noqa: B018, E712  # wrong


def test_not_instead_of_a_tilde_is_refused():
    with refused("Sold.gift has no truth value", "negate with ~"):
        not Sold.gift  # noqa: B018  # wrong


def test_in_is_refused():
    with refused("has no truth value", "combine conditions with & and |"):
        Sold.shop in ("Rome", "Oslo")  # noqa: B015  # wrong


def test_a_chain_of_comparisons_is_refused():
    with refused("has no truth value", "in parentheses"):
        1 < Sold.quantity < 5  # noqa: B015  # wrong


def test_forgotten_parentheses_are_refused():
    with refused("combines what are no conditions", "take conditions in parentheses"):
        Sold.quantity > 1 & Sold.returned > 1  # noqa: B015  # wrong


def test_a_number_is_no_condition():
    with refused("(not Sold.quantity) combines what are no conditions", "take conditions in parentheses"):
        ~Sold.quantity  # noqa: B018  # wrong


def test_decimal_and_float_do_not_mix():
    with refused("(Sold.price * 1.5) mixes Decimal and float", "write the constant as Decimal('1.5')"):
        Sold.price * 1.5  # wrong


def test_decimal_and_float_do_not_compare_either():
    """A Decimal of 1.1 is not the float 1.1."""
    with refused("(Sold.price == 1.1) mixes Decimal and float", "Decimal('1.5')"):
        Sold.price == 1.1  # noqa: B015  # wrong


@pytest.mark.parametrize("other", [5, date(2026, 1, 1), True, Color.RED])
def test_other_types_are_never_greater(other):
    if other is Color.RED:
        assert computed(Sold.shop == other) is False  # the member of a StrEnum is a text
        return
    with refused("compares str with", "compare values of one type"):
        Sold.shop > other  # noqa: B015  # wrong
    with refused("compares str with", "compare values of one type"):
        Sold.shop == other  # noqa: B015  # wrong


def test_an_order_of_lists_or_enums_is_refused():
    with refused("compares list[str] with list[str]", "compare values of one type"):
        Sold.tags < Sold.more_tags  # noqa: B015  # wrong
    with refused("compares Shade with Shade", "compare values of one type"):
        Sold.shade < Shade.DARK  # noqa: B015  # wrong


def test_a_day_is_no_time():
    with refused("compares date with datetime", "compare values of one type"):
        Sold.on_day < datetime(2026, 1, 1, tzinfo=UTC)  # noqa: B015  # wrong


def test_a_value_that_a_literal_never_has_is_refused():
    with refused("Sold.channel is never 'wbe'", "choose one of: 'web', 'store'"):
        Sold.channel == "wbe"  # noqa: B015  # wrong


def test_arithmetic_with_text_is_refused():
    with refused("(Sold.shop * 2) cannot be computed: str * int", "arithmetic takes numbers; write a handler"):
        Sold.shop * 2  # wrong


def test_a_list_cannot_stand_in_an_expression():
    with refused("['a'] cannot stand in an expression", "or write a handler"):
        Sold.tags == ["a"]  # noqa: B015  # wrong


def test_a_time_without_zone_cannot_stand_in_an_expression():
    with refused("has no time zone, so it is no point in time", "write datetime(..., tzinfo=UTC)"):
        Sold.timestamp > datetime(2026, 1, 1)  # noqa: B015, DTZ001  # wrong


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")])
def test_what_is_no_finite_number_cannot_stand_in_an_expression(value):
    with refused("is not a finite number", "no event has such a value"):
        Sold.price > value  # noqa: B015  # wrong
