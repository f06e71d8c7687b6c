"""What the views of `ledger` must show, in plain Python from `json.loads`: it shares no code with the kernel."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import Any

Row = dict[str, Any]
Rows = dict[Any, Row]


class Bad(Exception):
    """The record is none that this view can fold."""


def _fail(_: str) -> Any:
    raise Bad


def parse(value: bytes) -> dict[str, Any]:
    if _depth(value) > 200:
        raise Bad
    try:
        fields = json.loads(value.decode(), parse_float=Decimal, parse_constant=_fail)
    except (ValueError, RecursionError):
        raise Bad from None
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise Bad
    return fields


def _depth(value: bytes) -> int:
    """In these logs no text holds a bracket."""
    deepest = depth = 0
    for byte in value:
        depth += (byte in b"[{") - (byte in b"]}")
        deepest = max(deepest, depth)
    return deepest


# Field by field: what JSON gave becomes what the type says, or the record is bad.


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Bad
    return value


def whole(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise Bad
    return value


def real(value: Any) -> float:
    if type(value) not in (int, Decimal):
        raise Bad
    return float(value)


def number(value: Any) -> Decimal:
    if type(value) not in (int, str, Decimal):
        raise Bad
    try:
        parsed = Decimal(value)
    except InvalidOperation:
        raise Bad from None
    if not parsed.is_finite() or parsed.adjusted() > 999:
        raise Bad
    return parsed


def moment(value: Any) -> datetime:
    try:
        parsed = datetime.fromisoformat(text(value))
        if parsed.tzinfo is None:
            raise Bad
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Bad from None


def day(value: Any) -> date:
    try:
        return date.fromisoformat(text(value))
    except ValueError:
        raise Bad from None


def channel(value: Any) -> str:
    if value not in ("web", "store"):
        raise Bad
    return value


def lines(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise Bad
    return [{"sku": text(line.get("sku")), "quantity": _any_whole(line.get("quantity", 1))} for line in value]


def _any_whole(value: Any) -> int:
    if type(value) is not int:
        raise Bad
    return value


def storable(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if any(not -(2**63) <= line["quantity"] < 2**64 for line in found):
        raise Bad
    return copy.deepcopy(found)


def moments(value: Any) -> list[datetime]:
    return [moment(item) for item in value]


def optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


REQUIRED = object()
FIELDS: dict[str, dict[str, tuple[Callable[[Any], Any], Any]]] = {
    "Ordered": {
        "timestamp": (moment, REQUIRED),
        "amount": (number, REQUIRED),
        "currency": (text, REQUIRED),
        "quantity": (whole, 1),
        "weight": (real, 0.5),
        "note": (optional(text), None),
        "discount": (optional(number), None),
        "day": (day, "2026-01-01"),
        "due_at": (optional(moment), None),
        "channel": (channel, "web"),
        "lines": (lines, []),
        "stops": (moments, []),
        "event_id": (optional(text), None),
    },
    "Updated": {"field": (text, REQUIRED), "value": (lambda value: value, None), "event_id": (optional(text), None)},
    "Cancelled": {"skus": (lambda value: [text(item) for item in value], []), "event_id": (optional(text), None)},
}
VERSIONS = {"Ordered": 3, "Updated": 1, "Cancelled": 1}


def event(fields: dict[str, Any], used: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields that a view uses, each of its type."""
    kind = fields["type"]
    version = fields.get("_schema_version", 1)
    if type(version) is not int or not 1 <= version <= VERSIONS[kind]:
        raise Bad
    if kind == "Ordered" and version == 1:
        if "cents" not in fields:
            raise Bad
        fields = {**fields, "amount": Decimal(fields["cents"]) / 100}
    if kind == "Ordered" and version <= 2:
        fields = {**fields, "currency": "EUR"}
    found = {}
    for name in used:
        convert, default = FIELDS[kind][name]
        value = fields.get(name, default)
        if value is REQUIRED:
            raise Bad
        if isinstance(value, float):
            value = Decimal(value)
        found[name] = convert(value)
    return found


def total64(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise Bad
    return value


# View by view. `row` is a copy that is thrown away when the record is bad.


def new_totals() -> Row:
    zero = dict.fromkeys(("orders", "all_events", "big", "cheap", "quantity"), 0)
    nulls = (
        "mean", "mean_quantity", "mean_discount", "least", "greatest_discount", "earliest_due", "last_day", "ratio",
        "first_note", "first_web", "last_note", "last_lines", "first_stops", "last_at",
    )  # fmt: skip
    hidden = {"amounts_all": [], "quantities": [], "discounts_all": [], "first": False, "first_web_seen": False}
    sets = {name: [] for name in ("notes", "amounts", "days", "dues", "channels")}
    sums = {"spent": Decimal(0), "weight": 0.0, "discounts": Decimal(0), "value": Decimal(0)}
    return {**zero, **sums, **dict.fromkeys(nulls), **sets, **hidden}


def fold_totals(row: Row, fields: dict[str, Any], _: int) -> None:  # noqa: C901 - one line after the other, on purpose
    if fields["type"] == "Updated":
        return
    if fields["type"] == "Cancelled":
        event(fields, ())
        row["all_events"] += 1
        return
    e = event(fields, tuple(name for name in FIELDS["Ordered"] if name != "event_id"))
    row["orders"] += 1
    row["all_events"] += 1
    discount = e["discount"]
    row["big"] += e["amount"] > 10 and discount is not None
    row["cheap"] += (discount is not None and not discount > 1) or e["channel"] == "store"
    if e["currency"] == "EUR":
        row["spent"] += e["amount"]
    row["quantity"] = total64(row["quantity"] + e["quantity"])
    row["weight"] += e["weight"]
    if row["weight"] == float("inf"):
        raise Bad
    with localcontext(Context(prec=28)):
        product = e["amount"] * e["quantity"]
    row["value"] += product
    row["amounts_all"].append(e["amount"])
    if e["quantity"] == 0:
        raise Bad
    row["ratio"] = 100 / e["quantity"]
    row["quantities"].append(e["quantity"])
    row["least"] = e["amount"] if row["least"] is None else min(row["least"], e["amount"])
    row["last_day"] = e["day"] if row["last_day"] is None else max(row["last_day"], e["day"])
    if discount is not None:
        row["discounts"] += discount
        row["discounts_all"].append(discount)
        greatest = row["greatest_discount"]
        row["greatest_discount"] = discount if greatest is None else max(greatest, discount)
    if e["due_at"] is not None:
        row["earliest_due"] = e["due_at"] if row["earliest_due"] is None else min(row["earliest_due"], e["due_at"])
    if not row["first"]:
        row |= {"first": True, "first_note": e["note"], "first_stops": e["stops"]}
    if e["channel"] == "web" and not row["first_web_seen"]:
        row |= {"first_web_seen": True, "first_web": e["note"]}
    row |= {"last_note": e["note"], "last_lines": storable(e["lines"]), "last_at": e["timestamp"]}
    counted = {"notes": "note", "amounts": "amount", "days": "day", "dues": "due_at", "channels": "channel"}
    for name, field in counted.items():
        if e[field] is not None and e[field] not in row[name]:
            row[name].append(e[field])
    with localcontext(Context(prec=28)):
        row["mean"] = _exact_sum(row["amounts_all"]) / len(row["amounts_all"])
        row["mean_quantity"] = sum(row["quantities"]) / len(row["quantities"])
        if row["discounts_all"]:
            row["mean_discount"] = _exact_sum(row["discounts_all"]) / len(row["discounts_all"])


def _exact_sum(values: list[Decimal]) -> Decimal:
    with localcontext(Context(prec=5_000)):
        return sum(values, Decimal(0))


def new_profile() -> Row:
    return {
        "name": "", "score": 0.0, "level": 0, "balance": Decimal(0), "active": True,
        "since": datetime(2026, 1, 1, tzinfo=UTC), "birthday": None, "tags": ["new"], "counts": {},
        "basket": {"lines": [], "notes": {}}, "anything": None, "orders": 0, "streak": 0, "history": [],
    }  # fmt: skip


def fold_profile(row: Row, fields: dict[str, Any], _: int) -> None:
    kind = fields["type"]
    if kind == "Updated":
        _update_profile(row, event(fields, ("field", "value")))
    elif kind == "Cancelled":
        e = event(fields, ("skus",))
        row["history"] = [*row["history"], [line["sku"] for line in row["basket"]["lines"]]][-3:]
        if "boom" in e["skus"]:
            raise Bad
        for sku in e["skus"]:
            row["tags"].append(sku)
            row["basket"]["lines"] = [line for line in row["basket"]["lines"] if line["sku"] != sku]
        row["streak"] = 0
    else:
        e = event(fields, ("lines", "channel", "quantity", "amount", "timestamp"))
        row["orders"] += 1
        row["streak"] += 1
        row["basket"]["lines"] += storable(e["lines"])
        row["basket"]["notes"].setdefault(e["channel"], []).append(e["quantity"])
        row["counts"][e["channel"]] = row["counts"].get(e["channel"], 0) + row["streak"]
        if e["quantity"] == 13:
            raise Bad
        with localcontext(Context(prec=28)):
            row["balance"] = row["balance"] - e["amount"]
        row["since"] = e["timestamp"]


def _update_profile(row: Row, e: dict[str, Any]) -> None:
    """Which updates in the log are right is written down here one by one."""
    field, value = e["field"], e["value"]
    good = {
        "name": isinstance(value, str),
        "score": type(value) in (int, Decimal),
        "level": value == 7,
        "active": value is False,
        "birthday": value is None,
        "tags": value == ["a", "b"],
        "counts": value == {"z": 1, "a": 2},
        "anything": isinstance(value, dict),
        "_streak": True,
        "_history": True,
    }.get(field, False)
    if field == "basket":
        value, good = {"lines": [], "notes": {}}, True
    if field == "user_id":
        if value == "ana" and row["key"] == "ana":
            return
        raise Bad
    if field == "orders" and value == row["orders"]:
        return
    if not good:
        raise Bad
    if field == "score":
        value = float(value)
    row[field.removeprefix("_")] = json.loads(json.dumps(value, default=float))


def new_mixed() -> Row:
    return {"orders": 0, "notes": [], "first_lines": None, "mean": None, "seen": [], "changes": 0, "all": []}


def fold_mixed(row: Row, fields: dict[str, Any], _: int) -> None:
    if fields["type"] == "Cancelled":
        return
    if fields["type"] == "Updated":
        event(fields, ())
        row["changes"] += 1
        return
    e = event(fields, ("note", "lines", "amount", "quantity"))
    first = row["orders"] == 0
    row["orders"] += 1
    if e["note"] is not None and e["note"] not in row["notes"]:
        row["notes"].append(e["note"])
    if first:
        row["first_lines"] = storable(e["lines"])
    row["all"].append(e["amount"])
    with localcontext(Context(prec=28)):
        row["mean"] = _exact_sum(row["all"]) / len(row["all"])
    row["seen"].append(row["orders"] + len(row["notes"]))
    if e["quantity"] == 13:
        raise Bad


def new_once() -> Row:
    return {"orders": 0, "notes": [], "changes": [], "ids": []}


def fold_once(row: Row, fields: dict[str, Any], time_us: int) -> None:
    if fields["type"] == "Cancelled":
        return
    used = ("field", "event_id") if fields["type"] == "Updated" else ("note", "event_id")
    e = event(fields, used)
    window = 10 * 60 * 1_000_000
    if any(seen == e["event_id"] and abs(time_us - before) <= window for seen, before in row["ids"]):
        raise Ignored
    if fields["type"] == "Updated":
        row["changes"].append(e["field"])
        if e["field"] == "boom":
            raise Bad
    else:
        row["orders"] += 1
        if e["note"] is not None and e["note"] not in row["notes"]:
            row["notes"].append(e["note"])
    if e["event_id"]:
        row["ids"] = [(seen, before) for seen, before in row["ids"] if seen != e["event_id"]]
        row["ids"].append((e["event_id"], time_us))
        # What has left the window at the front is forgotten.
        while row["ids"][0][1] < time_us - window:
            del row["ids"][0]
        if row["ids"][0][1] > time_us + window:
            row["ids"].append(row["ids"].pop(0))


class Ignored(Exception):
    """The record is a duplicate: it changes nothing."""


def new_by_shop() -> Row:
    return {"orders": 0, "spent": Decimal(0), "cancelled": 0}


def fold_by_shop(row: Row, fields: dict[str, Any], _: int) -> None:
    if fields["type"] == "Updated":
        raise Ignored
    if fields["type"] == "Cancelled":
        event(fields, ())
        row["cancelled"] += 1
    else:
        row["spent"] += event(fields, ("amount",))["amount"]
        row["orders"] += 1


def new_by_house() -> Row:
    return {"orders": 0, "last_note": None, "last_field": None}


def fold_by_house(row: Row, fields: dict[str, Any], _: int) -> None:
    if fields["type"] == "Cancelled":
        raise Ignored
    if fields["type"] == "Updated":
        row["last_field"] = event(fields, ("field",))["field"]
    else:
        row["last_note"] = event(fields, ("note",))["note"]
        row["orders"] += 1


# View name -> (key fields, new row, fold, event types, columns).
VIEWS: dict[str, tuple[tuple[str, ...], Callable[[], Row], Callable[[Row, dict[str, Any], int], None], str]] = {
    "Totals": (("user_id",), new_totals, fold_totals, "Ordered Cancelled"),
    "Profile": (("user_id",), new_profile, fold_profile, "Ordered Updated Cancelled"),
    "Mixed": (("user_id",), new_mixed, fold_mixed, "Ordered Updated"),
    "Once": (("user_id",), new_once, fold_once, "Ordered Updated"),
    "ByShop": (("shop",), new_by_shop, fold_by_shop, "Ordered Cancelled"),
    "ByHouse": (("city", "house"), new_by_house, fold_by_house, "Ordered Updated"),
}


def key_of(keys: dict[str, Any] | None, names: tuple[str, ...]) -> tuple[Any, ...]:
    if keys is None:
        raise Bad
    return tuple(keys[name] for name in names)


def expected(view: str, records: list[tuple[dict[str, Any] | None, bytes, int]]) -> tuple[Rows, list[int]]:
    """Return the rows of a view by key, and which records are bad, by number."""
    key_fields, new_row, fold, events = VIEWS[view]
    rows: Rows = {}
    bad: list[int] = []
    with localcontext(Context(prec=5_000)):
        for index, (keys, value, time_us) in enumerate(records):
            try:
                fields = parse(value)
                if fields["type"] not in events.split():
                    continue
                key = key_of(keys, key_fields)
                row = copy.deepcopy(rows[key]) if key in rows else {**new_row(), "key": key[0]}
                fold(row, fields, time_us)
                rows[key] = row
            except Bad:
                bad.append(index)
            except Ignored:
                pass
    return rows, bad
