"""A log with everything in it that makes folding hard, and views that together use all that a view can be made of.

`record` turns three small numbers into a record, so that a test can draw logs and shrink them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec

from kappa import Event, View, average, count, distinct, first, latest, maximum, minimum, on, total

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
USERS = ("ana", "bob", "cleo", "Ünal", "")
CITIES = ("Rome", 'A "b", c')


class Line(msgspec.Struct):
    sku: str
    quantity: int = 1


class Basket(msgspec.Struct):
    lines: list[Line] = []
    notes: dict[str, list[int]] = {}


class Ordered(Event, version=3):
    user_id: str
    shop: int
    city: str
    house: int
    amount: Decimal
    currency: str
    quantity: int = 1
    weight: float = 0.5
    note: str | None = None
    discount: Decimal | None = None
    day: date = date(2026, 1, 1)
    due_at: datetime | None = None
    channel: Literal["web", "store"] = "web"
    lines: list[Line] = []  # noqa: RUF012
    stops: list[datetime] = []  # noqa: RUF012
    event_id: str | None = None

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        """Version 1 counted cents."""
        return {**old, "amount": Decimal(old["cents"]) / 100}

    @classmethod
    def upcast_2(cls, old: dict[str, Any]) -> dict[str, Any]:
        """Version 2 knew one currency."""
        old["currency"] = "EUR"
        return old


class Updated(Event):
    """Sets the field `field` of whatever folds it, if there is one."""

    user_id: str
    shop: int
    city: str
    house: int
    field: str
    value: Any = None
    event_id: str | None = None


class Cancelled(Event):
    user_id: str
    shop: int
    city: str
    house: int
    skus: list[str] = []  # noqa: RUF012
    event_id: str | None = None


class Unused(Event):
    user_id: str


class Totals(View, key="user_id"):
    """Every kind of fold."""

    orders: int = count(Ordered)
    all_events: int = count(Ordered, Cancelled)
    big: int = count(Ordered, where=(Ordered.amount > 10) & (Ordered.discount != None))  # noqa: E711
    cheap: int = count(Ordered, where=~(Ordered.discount > 1) | (Ordered.channel == "store"))
    spent: Decimal = total(Ordered.amount, where=Ordered.currency == "EUR")
    quantity: int = total(Ordered.quantity)
    weight: float = total(Ordered.weight)
    discounts: Decimal = total(Ordered.discount)
    value: Decimal = total(Ordered.amount * Ordered.quantity)
    mean: Decimal | None = average(Ordered.amount)
    mean_quantity: float | None = average(Ordered.quantity, where=Ordered.quantity > 0)
    mean_discount: Decimal | None = average(Ordered.discount)
    least: Decimal | None = minimum(Ordered.amount)
    greatest_discount: Decimal | None = maximum(Ordered.discount)
    earliest_due: datetime | None = minimum(Ordered.due_at)
    last_day: date | None = maximum(Ordered.day)
    ratio: float | None = latest(100 / Ordered.quantity)
    first_note: str | None = first(Ordered.note)
    first_web: str | None = first(Ordered.note, where=Ordered.channel == "web")
    last_note: str | None = latest(Ordered.note)
    last_lines: list[Line] | None = latest(Ordered.lines)
    first_stops: list[datetime] | None = first(Ordered.stops)
    last_at: datetime | None = latest(Ordered.timestamp)
    notes: int = distinct(Ordered.note)
    amounts: int = distinct(Ordered.amount)
    days: int = distinct(Ordered.day)
    dues: int = distinct(Ordered.due_at)
    channels: int = distinct(Ordered.channel)


class Profile(View, key="user_id"):
    """Handlers that set what the event names, and change nested values in place; and a fold beside them."""

    name: str = ""
    score: float = 0
    level: int = 0
    balance: Decimal = Decimal(0)
    active: bool = True
    since: datetime = START
    birthday: date | None = None
    tags: list[str] = ["new"]  # noqa: RUF012
    counts: dict[str, int] = {}  # noqa: RUF012
    basket: Basket = Basket()
    anything: Any = None
    orders: int = count(Ordered)
    LIMIT: ClassVar[int] = 3
    _streak: int = 0
    _history: list[list[str]] = []  # noqa: RUF012

    @on(Updated)
    def updated(self, event: Updated) -> None:
        setattr(self, event.field, event.value)

    @on(Ordered)
    def ordered(self, event: Ordered) -> None:
        self._streak += 1
        self.basket.lines.extend(event.lines)
        self.basket.notes.setdefault(event.channel, []).append(event.quantity)
        self.counts[event.channel] = self.counts.get(event.channel, 0) + self._streak
        if event.quantity == 13:
            raise ValueError("unlucky")
        self.balance -= event.amount
        self.since = event.timestamp

    @on(Cancelled)
    def cancelled(self, event: Cancelled) -> None:
        kept, history = self.basket.lines, self._history
        history.append([line.sku for line in kept])
        del history[: -self.LIMIT]
        for sku in event.skus:
            self.tags.append(sku)
            kept[:] = [line for line in kept if line.sku != sku]
            if sku == "boom":
                raise KeyError(sku)
        self._streak = 0


class Mixed(View, key="user_id"):
    """Folds and a handler on the same event, and duplicates ignored."""

    orders: int = count(Ordered)
    notes: int = distinct(Ordered.note)
    first_lines: list[Line] | None = first(Ordered.lines)
    mean: Decimal | None = average(Ordered.amount)
    seen: list[int] = []  # noqa: RUF012
    changes: int = count(Updated)

    @on(Ordered)
    def ordered(self, event: Ordered) -> None:
        self.seen.append(self.orders + self.notes)
        if event.quantity == 13:
            raise ValueError("unlucky")


class Once(View, key="user_id", dedupe="10m"):
    """Duplicates ignored."""

    orders: int = count(Ordered)
    notes: int = distinct(Ordered.note)
    changes: list[str] = []  # noqa: RUF012

    @on(Updated)
    def updated(self, event: Updated) -> None:
        self.changes.append(event.field)
        if event.field == "boom":
            raise ValueError(event.field)


class ByShop(View, key="shop"):
    """Keyed by a number."""

    orders: int = count(Ordered)
    spent: Decimal = total(Ordered.amount)
    cancelled: int = count(Cancelled)


class ByHouse(View, key=("city", "house")):
    """Keyed by text and a number."""

    orders: int = count(Ordered)
    last_note: str | None = latest(Ordered.note)
    last_field: str | None = latest(Updated.field)


VIEWS = (Totals, Profile, Mixed, Once, ByShop, ByHouse)
EVENTS = (Ordered, Updated, Cancelled, Unused)

_UPDATES: Sequence[tuple[str, Any]] = (
    ("name", "Ana"),
    ("name", "Ünal \0"),
    ("name", None),
    ("name", 7),
    ("score", 3),
    ("score", 0.1),
    ("score", True),
    ("level", 7),
    ("level", 2**63),
    ("level", 10**30),
    ("active", False),
    ("active", 1),
    ("birthday", None),
    ("birthday", "2026-01-01"),
    ("tags", ["a", "b"]),
    ("tags", ["a", 1]),
    ("counts", {"z": 1, "a": 2}),
    ("counts", {"z": "1"}),
    ("basket", {"lines": []}),
    ("anything", {"z": [1, 0.5, None, "ü"], "a": {}}),
    ("anything", [2**64]),
    ("orders", 0),
    ("_streak", 2),
    ("_history", [["x"]]),
    ("user_id", "eve"),
    ("user_id", "ana"),
    ("_offset", -5),
    ("missing", 1),
    ("updated", 1),
    ("boom", 1),
)


def record(kind: int, user: int, number: int) -> tuple[dict[str, Any] | None, bytes, int]:
    """Return (the fields that make up keys, or None for a record without key; value; event time in microseconds).

    Args:
        kind: 0 <= kind < KINDS_COUNT: what it is; about half of the kinds are good records.
        user: Whom it concerns, any number.
        number: Everything else, any number.
    """
    at = START + timedelta(minutes=number % 40 - 20 * (number % 3 == 2))
    keys = {
        "user_id": USERS[user % len(USERS)],
        "shop": (number % 3) - 1,
        "city": CITIES[number % 2],
        "house": number % 2,
    }
    zone = ("Z", "+00:00", "+02:00", "-05:30")[number % 4]
    fields = {**keys, "timestamp": _at(at, zone)}
    if number % 5:
        fields["event_id"] = f"e{number % 7}"
    value = _KINDS[kind](number, fields)
    return (None if kind == KINDS_COUNT - 1 else keys), value, START_US + int((at - START).total_seconds()) * 1_000_000


def _at(at: datetime, zone: str) -> str:
    if zone == "Z":
        return f"{at.replace(tzinfo=None).isoformat()}.5Z"
    sign = 1 if zone[0] == "+" else -1
    offset = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return f"{(at + offset).replace(tzinfo=None).isoformat()}{zone}"


def _order(number: int, fields: dict[str, Any]) -> dict[str, Any]:
    order: dict[str, Any] = {
        "type": "Ordered",
        "_schema_version": 3,
        **fields,
        "amount": (f"{number}.10", number, number + 0.25, f"{number}E+3")[number % 4],
        "currency": ("EUR", "GBP")[number % 2],
        "quantity": number % 15,
    }
    if number % 3:
        order |= {"note": f"n{number % 4}", "discount": f"{number % 3}.50", "weight": number / 8}
        order |= {"channel": ("web", "store")[number % 2], "day": f"2026-01-{number % 28 + 1:02}"}
        order["lines"] = [{"sku": f"s{number % 3}"}, {"sku": "t", "quantity": number}]
        order["stops"] = ["2026-03-01T12:00:00+02:00", "2026-03-01T12:00:00Z"][: number % 3]
        order["due_at"] = (None, "2026-01-01T00:00:00-08:00", "2026-01-01T08:00:00Z")[number % 3]
    return order


_BAD_ORDERS: Sequence[dict[str, Any]] = (
    {"amount": True},
    {"amount": "NaN"},
    {"amount": "1E+2000"},
    {"amount": None},
    {"quantity": 2**63},
    {"quantity": 1.5},
    {"weight": "1"},
    {"weight": 1e308},
    {"due_at": "2026-01-01T00:00:00"},
    {"due_at": "0001-01-01T00:00:00+14:00"},
    {"day": "2026-02-30"},
    {"channel": "fax"},
    {"lines": [{"sku": 1}]},
    {"lines": [{"sku": "a", "quantity": 10**30}]},
    {"note": 5},
    {"timestamp": "2026-01-01T00:00:00"},
    {"_schema_version": 4},
    {"_schema_version": 0},
    {"_schema_version": "3"},
    {"_schema_version": 1},
    {"event_id": 7},
)


def _good(number: int, fields: dict[str, Any]) -> bytes:
    return json.dumps(_order(number, fields)).encode()


def _version_1(number: int, fields: dict[str, Any]) -> bytes:
    """The version may be left out, if it is 1."""
    order = {**_order(number, fields), "_schema_version": 1, "cents": number}
    for name in ("amount", "currency", "_schema_version")[: 2 + number % 2]:
        del order[name]
    return json.dumps(order).encode()


def _version_2(number: int, fields: dict[str, Any]) -> bytes:
    return json.dumps({**_order(number, fields), "_schema_version": 2, "currency": 5}).encode()


def _update(number: int, fields: dict[str, Any]) -> bytes:
    field, update = _UPDATES[number % len(_UPDATES)]
    return json.dumps({"type": "Updated", **fields, "field": field, "value": update}).encode()


def _cancelled(number: int, fields: dict[str, Any]) -> bytes:
    skus = [f"s{sku}" for sku in range(number % 3)] + ["boom"] * (number % 4 == 0)
    return json.dumps({"type": "Cancelled", **fields, "skus": skus}).encode()


def _somebody_else_s(number: int, fields: dict[str, Any]) -> bytes:
    return json.dumps({"type": ("Unused", "Unheard")[number % 2], **fields}).encode()


def _bad(number: int, fields: dict[str, Any]) -> bytes:
    return json.dumps({**_order(number, fields), **_BAD_ORDERS[number % len(_BAD_ORDERS)]}).encode()


def _bad_update(_: int, fields: dict[str, Any]) -> bytes:
    return json.dumps({"type": "Updated", **fields, "field": None}).encode()


def _truncated(number: int, fields: dict[str, Any]) -> bytes:
    return _good(number, fields)[: -1 - number % 40]


def _junk(number: int, _: dict[str, Any]) -> bytes:
    return (b"", b"hello", b"[]", b"5", b"{}", b'{"type":5}', b"\xff", b"null")[number % 8]


def _brackets(number: int, _: dict[str, Any]) -> bytes:
    return b"[" * (number % 2_000) + b"]" * (number % 2_000)


def _deep(number: int, fields: dict[str, Any]) -> bytes:
    deep: Any = []
    for _ in range(number % 300):
        deep = [deep]
    return json.dumps({**_order(number, fields), "deep": deep}).encode()


def _not_a_number(number: int, fields: dict[str, Any]) -> bytes:
    return json.dumps({**_order(number, fields), "amount": float("nan")}).encode()


# The order matters for shrinking only: what comes first is simplest. The last kind has no key.
_KINDS: Sequence[Callable[[int, dict[str, Any]], bytes]] = (
    *[_good] * 12,
    *[_version_1, _version_1, _version_2],
    *[_update] * 5,
    *[_cancelled] * 3,
    *[_somebody_else_s, _bad_update, _truncated, _junk, _brackets, _deep, _not_a_number],
    *[_bad] * 4,
    _good,
)
GOOD, UPDATE, CANCELLED, OTHER, JUNK = (
    _KINDS.index(kind) for kind in (_good, _update, _cancelled, _somebody_else_s, _junk)
)
KINDS_COUNT = len(_KINDS)
