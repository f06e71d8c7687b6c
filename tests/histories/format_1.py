"""Events and views whose rows were recorded when state had format 1. Nothing here may change once that is released."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from kappa import Event, View, average, count, distinct, first, latest, maximum, minimum, on, total


class Line(msgspec.Struct):
    sku: str
    quantity: int = 1


class Ordered(Event, version=2):
    user_id: str
    shop: int
    amount: Decimal
    weight: float = 0.0
    note: str | None = None
    day: date | None = None
    channel: Literal["web", "store"] = "web"
    lines: list[Line] = []  # noqa: RUF012
    event_id: str = ""

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        """Version 1 counted cents."""
        return {**old, "amount": Decimal(old["cents"]) / 100}


class Moved(Event):
    user_id: str
    shop: int
    city: str
    event_id: str = ""


class Customer(View, key="user_id"):
    orders: int = count(Ordered)
    spent: Decimal = total(Ordered.amount)
    weight: float = total(Ordered.weight)
    mean: Decimal | None = average(Ordered.amount)
    least: Decimal | None = minimum(Ordered.amount)
    last_day: date | None = maximum(Ordered.day)
    first_note: str | None = first(Ordered.note)
    last_at: datetime | None = latest(Ordered.timestamp)
    last_lines: list[Line] | None = latest(Ordered.lines)
    notes: int = distinct(Ordered.note)
    channel: str | None = latest(Ordered.channel)
    city: str | None = None
    score: float = 0
    active: bool = True
    cities: dict[str, int] = {}  # noqa: RUF012
    _moves: list[str] = []  # noqa: RUF012

    @on(Moved)
    def moved(self, event: Moved) -> None:
        if event.city == "nowhere":
            raise ValueError(event.city)
        self._moves.append(event.city)
        self.city = event.city
        self.cities[event.city] = self.cities.get(event.city, 0) + 1
        self.score += 0.5


class Shop(View, key=("shop", "user_id"), dedupe="10m"):
    events: int = count(Ordered, Moved)
    amounts: int = distinct(Ordered.amount)


VIEWS = (Customer, Shop)
EVENTS = (Ordered, Moved)
