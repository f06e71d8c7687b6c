"""Folds: what each kind computes, with and without nulls and conditions, and which declarations are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
import pytest
from model.folding import columns, fold_values, reasons, wire
from model.refusals import refused

from kappa import Event, View, average, count, distinct, first, latest, maximum, minimum, total
from kappa.model.codegen import fold_code
from kappa.model.decoding import Decoding
from kappa.model.views import view_spec


class Sold(Event):
    k: str
    quantity: int = 1
    price: Decimal = Decimal(0)
    weight: float = 0.0
    discount: Decimal | None = None
    note: str | None = None
    online: bool = False
    on_day: date = date(2026, 1, 1)
    tags: list[str] = []  # noqa: RUF012
    anything: Any = None
    channel: Literal["web", "store"] = "web"


class Returned(Event):
    k: str
    quantity: int
    price: Decimal


def test_a_count_begins_at_zero_and_counts_each_event():
    class Shop(View, key="k"):
        sold: int = count(Sold)
        big: int = count(Sold, where=Sold.quantity > 5)
        both: int = count(Sold, Returned)

    row = Shop.fold([Sold(k="x"), Sold(k="x", quantity=6), Returned(k="x", quantity=1, price=Decimal(1))])

    assert (row.sold, row.big, row.both) == (2, 1, 3)


def test_a_total_of_decimals_is_exact():
    class Shop(View, key="k"):
        revenue: Decimal = total(Sold.price)
        net: Decimal = total(Sold.price, -Returned.price)

    events = [Sold(k="x", price=Decimal("0.10")) for _ in range(3)]
    events += [Sold(k="x", price=Decimal("1E+30")), Sold(k="x", price=Decimal("1E-30"))]
    events += [Returned(k="x", quantity=1, price=Decimal("1E+30"))]

    row = Shop.fold(events)

    assert row.revenue == Decimal("1000000000000000000000000000000.300000000000000000000000000001")
    assert row.net == Decimal("0.300000000000000000000000000001")


def test_a_total_keeps_its_type_and_passes_over_nulls():
    class Shop(View, key="k"):
        quantity: int = total(Sold.quantity)
        weight: float = total(Sold.weight)
        discounts: Decimal = total(Sold.discount)
        exact_quantity: Decimal = total(Sold.quantity)

    row = Shop.fold([Sold(k="x", weight=0.5), Sold(k="x", discount=Decimal("1.5"), weight=0.25)])

    assert [repr(value) for value in (row.quantity, row.weight, row.discounts, row.exact_quantity)] == [
        "2", "0.75", "Decimal('1.5')", "Decimal('2')",
    ]  # fmt: skip


def test_an_average_is_the_exact_total_over_the_count_of_values():
    class Shop(View, key="k"):
        price: Decimal | None = average(Sold.price)
        discount: Decimal | None = average(Sold.discount)
        quantity: float | None = average(Sold.quantity)
        exact_quantity: Decimal | None = average(Sold.quantity)

    row = Shop.fold([Sold(k="x", price=Decimal(1)), Sold(k="x", quantity=2), Sold(k="x", discount=Decimal(3))])

    assert row.price == Decimal("0.3333333333333333333333333333")
    assert (row.discount, row.quantity, row.exact_quantity) == (
        Decimal(3), 4 / 3, Decimal("1.333333333333333333333333333"),
    )  # fmt: skip


def test_minimum_and_maximum_pass_over_nulls_and_keep_the_first_of_equals():
    class Shop(View, key="k"):
        cheapest: Decimal | None = minimum(Sold.price)
        dearest: Decimal | None = maximum(Sold.price)
        least_discount: Decimal | None = minimum(Sold.discount)
        last_note: str | None = maximum(Sold.note)
        first_day: date | None = minimum(Sold.on_day)
        channel: str | None = maximum(Sold.channel)

    row = Shop.fold(
        [
            Sold(k="x", price=Decimal("2.0"), on_day=date(2026, 1, 2)),
            Sold(k="x", price=Decimal("2.00"), note="b", channel="store"),
            Sold(k="x", price=Decimal("3.5"), note="a", on_day=date(2025, 1, 2)),
        ]
    )

    assert [str(row.cheapest), row.dearest, row.least_discount, row.last_note, row.first_day, row.channel] == [
        "2.0", Decimal("3.5"), None, "b", date(2025, 1, 2), "web",
    ]  # fmt: skip


def test_first_and_latest_go_by_the_order_of_the_log_and_take_nulls_too():
    class Shop(View, key="k"):
        first_note: str | None = first(Sold.note)
        last_note: str | None = latest(Sold.note)
        first_web_note: str | None = first(Sold.note, where=Sold.online == True)  # noqa: E712
        last_at: datetime | None = latest(Sold.timestamp)

    later, earlier = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    row = Shop.fold(
        [
            Sold(k="x", timestamp=later),
            Sold(k="x", note="a", online=True),
            Sold(k="x", note="b", timestamp=earlier),
            Sold(k="x", timestamp=earlier),
        ]
    )

    assert (row.first_note, row.last_note, row.first_web_note, row.last_at) == (None, None, "a", earlier)


def test_distinct_counts_each_value_once_and_no_nulls():
    class Shop(View, key="k"):
        notes: int = distinct(Sold.note)
        prices: int = distinct(Sold.price, Returned.price)
        days: int = distinct(Sold.on_day)
        online: int = distinct(Sold.online)
        channels: int = distinct(Sold.channel)
        halves: int = distinct(Sold.quantity // 2, where=Sold.quantity > 1)

    events = [
        Sold(k="x"),
        Sold(k="x", note="a", price=Decimal("1.0"), quantity=2),
        Sold(k="x", note="a", price=Decimal("1.00"), quantity=3, channel="store"),
        Sold(k="x", note="b", online=True, quantity=4),
        Returned(k="x", quantity=1, price=Decimal(1)),
    ]

    row = Shop.fold(events)

    assert [row.notes, row.prices, row.days, row.online, row.channels, row.halves] == [2, 2, 1, 2, 2, 2]


def test_lists_and_other_composites_can_be_first_and_latest():
    class Shop(View, key="k"):
        first_tags: list[str] | None = first(Sold.tags)
        last_tags: list[str] | None = latest(Sold.tags)
        anything: Any = latest(Sold.anything)
        channel: Literal["web", "store"] | None = latest(Sold.channel)

    row = Shop.fold([Sold(k="x", tags=["a"]), Sold(k="x", tags=["b"], anything={"a": [1, 2.5, None]}, channel="store")])

    assert (row.first_tags, row.last_tags, row.anything, row.channel) == (["a"], ["b"], {"a": [1, 2.5, None]}, "store")


def test_a_condition_that_is_unknown_is_not_true():
    class Shop(View, key="k"):
        cheap: int = count(Sold, where=Sold.discount < 5)
        not_cheap: int = count(Sold, where=~(Sold.discount < 5))
        plain: int = count(Sold, where=Sold.discount == None)  # noqa: E711

    row = Shop.fold([Sold(k="x"), Sold(k="x", discount=Decimal(1))])

    assert (row.cheap, row.not_cheap, row.plain) == (1, 0, 1)


# What cannot be stored becomes a dead letter, and nothing of its event is folded.


class Sums(View, key="k"):
    events: int = count(Sold)
    quantity: int = total(Sold.quantity)
    weight: float = total(Sold.weight)
    price: Decimal = total(Sold.price)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"quantity": 2**63 - 1}, "Sold: `quantity`: expected a sum of 64 bits"),
        ({"weight": 1.7976931348623157e308}, "Sold: `weight`: expected a sum of 64 bits"),
        ({"price": "1E+999"}, "Sold: `price`: expected a finite `Decimal` of at most 1,000 digits"),
        ({"price": "1E+999999"}, "Sold: `price`: expected a finite `Decimal` of at most 1,000 digits"),
        ({"price": "1E-999999"}, "Sold: `price`: expected a finite `Decimal` of at most 1,000 digits"),
        ({"price": "0." + "1" * 5_000}, "Sold: `price`: expected a finite `Decimal` of at most 1,000 digits"),
        ({"price": "NaN"}, "Sold: expected a finite number in `price`, got NaN"),
        ({"price": "sNaN123"}, "Sold: expected a finite number in `price`, got sNaN123"),
        ({"price": "-Infinity"}, "Sold: expected a finite number in `price`, got -Infinity"),
    ],
)
def test_a_sum_that_cannot_be_stored_sets_its_event_aside(fields, reason):
    good = wire("Sold", k="x", quantity=1, weight=1.7e308, price="0.5")

    changes = fold_values(Sums, [good, wire("Sold", k="x", **fields), good.replace(b"1.7e+308", b"-1.7e308")])

    assert reasons(changes) == [reason]
    assert columns(changes) == [("x", 2, 2, 0.0, Decimal("1.0"))]


class Computed(View, key="k"):
    events: int = count(Sold)
    ratio: float | None = latest(100 / Sold.quantity)
    product: int | None = maximum(Sold.quantity * Sold.quantity)
    squares: int = distinct(Sold.quantity * Sold.quantity)
    heavy: float | None = first(Sold.weight * Sold.weight)
    rate: Decimal | None = minimum(Sold.price * Sold.price)
    share: int = count(Sold, where=100 / Sold.weight > 1)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"quantity": 0}, "Sold: `ratio`: raised ZeroDivisionError: division by zero"),
        ({"quantity": 2**62}, "Sold: `product`: expected an `int` of 64 bits, got a larger one"),
        ({"weight": 1e300}, "Sold: `heavy`: expected a finite `float`, got NaN, infinity or a larger number"),
        ({"weight": 0}, "Sold: `share`: raised ZeroDivisionError: float division by zero"),
        ({"price": "1E+600"}, "Sold: `rate`: expected a finite `Decimal` of at most 1,000 digits"),
    ],
)
def test_an_expression_that_fails_or_overflows_sets_its_event_aside(fields, reason):
    good = {"k": "x", "quantity": 3, "weight": 2.0, "price": "1.5"}

    changes = fold_values(Computed, [wire("Sold", **{**good, **fields}), wire("Sold", **good)])

    assert reasons(changes) == [reason]
    assert columns(changes) == [("x", 1, 100 / 3, 9, 1, 4.0, Decimal("2.25"), 1)]


def test_numbers_in_lists_have_64_bits_too():
    class Readings(Event):
        k: str
        values: list[int]

    class Meter(View, key="k"):
        last: list[int] | None = latest(Readings.values)

    changes = fold_values(Meter, [wire("Readings", k="x", values=[10**30]), wire("Readings", k="x", values=[1])])

    assert reasons(changes) == ["Readings: `last`: expected an `int` of 64 bits, got a larger one"]
    assert columns(changes) == [("x", "[1]")]


def test_minus_zero_is_zero():
    """SQL has no minus zero, so no view has one."""

    class Shop(View, key="k"):
        last: Decimal | None = latest(Sold.price)
        sum: Decimal = total(Sold.price)

    changes = fold_values(Shop, [wire("Sold", k="x", price="-0")])

    assert [str(value) for value in changes.rows[0].columns] == ["x", "0", "0"]


def test_times_in_lists_are_in_utc():
    class Planned(Event):
        k: str
        stops: list[datetime]

    class Plan(View, key="k"):
        stops: list[datetime] | None = latest(Planned.stops)

    changes = fold_values(Plan, [wire("Planned", k="x", stops=["2026-03-01T12:00:00+02:00"])])

    assert columns(changes) == [("x", '["2026-03-01T10:00:00Z"]')]


def test_generated_code_reads_like_the_declaration():
    class Shop(View, key="k"):
        sold: int = count(Sold)
        revenue: Decimal = total(Sold.price, where=Sold.online == True)  # noqa: E712

    code = fold_code(Shop, Decoding(view_spec(Shop), [Sold])).source

    assert "row.sold += 1" in code
    assert "t1 = exact_add(row.revenue, e.price)  # Sold: `revenue`" in code


# What is refused, at the fold's line.


def test_a_float_total_where_decimal_is_declared_is_refused():
    with refused(
        "view Shop: field 'sum' is declared Decimal, but total(Sold.weight) gives float",
        "a sum of floats is not exact: declare Sold.weight as Decimal in the event",
    ):

        class Shop(View, key="k"):
            sum: Decimal = total(Sold.weight)  # wrong


@pytest.mark.parametrize(
    ("fold", "hint", "wanted"),
    [
        (lambda: count(Sold), float, "int"),
        (lambda: count(Sold), int | None, "int"),
        (lambda: total(Sold.quantity), float, "int"),
        (lambda: total(Sold.price), int, "Decimal"),
        (lambda: average(Sold.price), Decimal, "Decimal | None"),
        (lambda: average(Sold.quantity), int | None, "float | None"),
        (lambda: latest(Sold.note), str, "str | None"),
        (lambda: latest(Sold.tags), list[int] | None, "list[str] | None"),
        (lambda: first(Sold.channel), Literal["web"] | None, "Literal['web', 'store'] | None"),
        (lambda: distinct(Sold.note), str, "int"),
        (lambda: total(Sold.quantity, Returned.price), int, "Decimal"),
    ],
)
def test_a_field_of_another_type_is_refused(fold, hint, wanted):
    with refused(f"gives {wanted}", f"declare it as x: {wanted}", line="lambda"):
        value = fold()
        type(View)("Shop", (View,), {"__module__": __name__, "__annotations__": {"x": hint}, "x": value}, key="k")


@pytest.mark.parametrize("hint", [msgspec.Meta(ge=0), msgspec.Meta(le=100)])
def test_a_fold_into_a_field_with_limits_is_refused(hint):
    """What the log says is what a fold gives, within the limits or not."""
    from typing import Annotated  # noqa: PLC0415

    with refused("gives int", "declare it as x: int"):
        value = total(Sold.quantity)  # wrong
        annotations = {"x": Annotated[int, hint]}
        type(View)("Shop", (View,), {"__module__": __name__, "__annotations__": annotations, "x": value}, key="k")


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (lambda: total(Sold.note), "cannot be total(Sold.note): str | None is no number"),
        (lambda: total(Sold.online), "cannot be total(Sold.online): bool is no number"),
        (lambda: average(Sold.timestamp), "cannot be average(Sold.timestamp): datetime is no number"),
        (lambda: minimum(Sold.tags), "cannot be minimum(Sold.tags): list[str] has no order and no identity"),
        (lambda: distinct(Sold.anything), "cannot be distinct(Sold.anything): Any has no order and no identity"),
    ],
)
def test_a_fold_of_something_else_is_refused(fold, message):
    with refused(message, "write a handler", line="lambda"):
        value = fold()
        type(View)("Shop", (View,), {"__module__": __name__, "__annotations__": {"x": Any}, "x": value}, key="k")


def test_distinct_values_of_several_types_are_refused():
    with refused("counts distinct values of several types", "split it into two fields"):

        class Shop(View, key="k"):
            x: int = distinct(Sold.quantity, Returned.price)  # wrong


def test_a_fold_without_argument_is_refused():
    with refused("count() needs an argument", "count(OrderPlaced...)"):
        count()  # wrong


def test_a_fold_of_the_same_event_twice_is_refused():
    with refused("total() takes one argument per event type", "split it into two fields"):
        total(Sold.quantity, Sold.quantity)  # wrong


def test_a_count_of_a_field_is_refused():
    with refused("count() takes event types, got Sold.quantity", "write count(OrderPlaced)"):
        count(Sold.quantity)  # wrong


@pytest.mark.parametrize("value", [5, Sold.quantity + Returned.quantity])
def test_a_total_of_no_event_or_of_two_is_refused(value):
    with refused("total() takes fields of one event type", "write total(OrderPlaced.amount)"):
        total(value)  # wrong


def test_a_total_of_an_event_is_refused():
    with refused("cannot stand in an expression", "use fields of one event type"):
        total(Sold)  # wrong


def test_the_base_of_all_events_cannot_be_folded():
    with refused("count() takes an event type, and Event is their base", "write count(OrderPlaced...)"):
        count(Event)  # wrong
    with refused("latest() takes an event type, and Event is their base", "write latest(OrderPlaced...)"):
        latest(Event.timestamp)  # wrong


def test_a_condition_on_another_event_is_refused():
    with refused("count(): `where` reads another event type than Sold", "a condition sees one event"):
        count(Sold, where=Returned.quantity > 1)  # wrong


def test_a_condition_that_is_none_is_refused():
    with refused("count(): `where` is not a condition: Sold.quantity", "compare it with something"):
        count(Sold, where=Sold.quantity)  # wrong


def test_a_condition_with_is_is_refused():
    """Python has computed it already: it would be true for every event."""
    with refused("count(): `where` is True for every event", "`is`, `in` and `not` cannot be overloaded"):
        count(Sold, where=Sold.note is not None)  # wrong
