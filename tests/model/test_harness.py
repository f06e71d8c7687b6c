"""Folding in a test: `View.fold` and `kappa.testing.fold_all` are the pipeline without its processes."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kappa import Event, View, count, on, total
from kappa.errors import KappaError
from kappa.testing import FoldFailed, fold_all


class Sold(Event, version=2):
    city: str
    house: int
    seller: str | None = None
    price: Decimal = Decimal(1)
    event_id: str = ""

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "city": old["town"]}


class Built(Event):
    house: int


class City(View, key="city"):
    sales: int = count(Sold)
    prices: Decimal = total(Sold.price)


class House(View, key="house"):
    sales: int = count(Sold)
    built: bool = False

    @on(Built)
    def has_been_built(self, event: Built) -> None:
        self.built = True


class Place(View, key=("city", "house"), dedupe="1h"):
    sales: int = count(Sold)


class Seller(View, key="seller"):
    sales: int = count(Sold)


STORY = [Sold(city="Rome", house=7), Built(house=7), Sold(city="Oslo", house=8), Sold(city="Rome", house=7)]


def test_rows_come_by_the_values_of_their_key():
    assert {key: row.sales for key, row in fold_all(City, STORY).items()} == {"Rome": 2, "Oslo": 1}
    assert {key: (row.sales, row.built) for key, row in fold_all(House, STORY).items()} == {7: (2, True), 8: (1, False)}
    assert {key: row.sales for key, row in fold_all(Place, STORY).items()} == {("Rome", 7): 2, ("Oslo", 8): 1}


def test_no_events_give_no_rows():
    assert fold_all(City, []) == fold_all(City, [Built(house=7)]) == {}


def test_a_dict_stands_for_the_json_of_an_event():
    old = {"type": "Sold", "town": "Rome", "house": 7, "price": "2.50"}
    unknown = {"type": "Unheard"}

    assert City.fold([old, unknown, Sold(city="Rome", house=1)]).prices == Decimal("3.50")


def test_time_is_that_of_the_event():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    events = [
        Sold(city="Rome", house=7, event_id="a", timestamp=at),
        {"type": "Sold", "town": "Rome", "house": 7, "event_id": "a", "timestamp": "2026-01-01T02:00:01+01:00"},
        Sold(city="Rome", house=7, event_id="a", timestamp=at + timedelta(hours=1)),
    ]

    assert Place.fold(events).sales == 2


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Sold(city="Rome", house=7, price=Decimal("NaN")), "Sold: expected a finite number in `price`, got NaN"),
        (Sold(city=5, house=7), "Sold: expected `str` in the key field `city`, got 5"),
        ({"type": "Sold", "house": 7}, "Sold: upcast_1 raised KeyError: 'town'"),
        ({"house": 7}, "no event type: expected text in `type`"),
        (
            Sold(city="Rome", house=object()),
            "it cannot be written as JSON: Encoding objects of type object is unsupported",
        ),
        (Sold(city="\ud800", house=7), "it cannot be written as JSON: 'utf-8' codec can't encode character '\\ud800'"),
        ("Sold", "expected a JSON object, got str"),
    ],
)
def test_an_event_that_cannot_be_folded_is_named(event, reason):
    with pytest.raises(FoldFailed) as failed:
        fold_all(City, [STORY[0], event, STORY[0]])

    error = failed.value
    assert isinstance(error, KappaError)
    assert (error.number, error.event) == (2, event)
    assert error.reason.startswith(reason), error.reason
    assert error.message == f"event 2, {event!r}, cannot be folded: {error.reason}"


def test_a_key_that_is_null_belongs_to_no_row():
    with pytest.raises(FoldFailed, match=r"expected .* in the key field `seller`"):
        fold_all(Seller, [Sold(city="Rome", house=7)])


def test_the_time_of_an_event_needs_a_zone():
    class Timed(View, key="city"):
        last: str = ""

        @on(Sold)
        def sold(self, event: Sold) -> None:
            self.last = event.timestamp.isoformat()

    with pytest.raises(FoldFailed, match=r"Expected `datetime` with a timezone component - at `..timestamp`"):
        Timed.fold([Sold(city="Rome", house=7, timestamp=datetime(2026, 1, 1))])  # noqa: DTZ001


def test_importing_kappa_is_light():
    """A command must answer at once; what is heavy is imported where it is used."""
    heavy = ["asyncio", "click", "duckdb", "hypothesis", "pytest", "rich", "sqlite3", "unittest", "email", "http"]
    code = f"import sys, kappa, kappa.testing; print(*[name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
