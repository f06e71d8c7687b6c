"""Event types: what a declaration means on the wire, and what is refused while it is written."""

from __future__ import annotations

import enum
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, NewType, Optional, TypedDict

import msgspec
import pytest
from model.folding import columns, fold_values, reasons, wire
from model.refusals import refused

from kappa import Event, View, count, latest, on, total
from kappa.errors import DefinitionError
from kappa.model.events import encode_event, event_spec


class Address(msgspec.Struct):
    city: str
    zip: str | None = None


@dataclass
class Size:
    width: int
    height: int


class Coupon(TypedDict):
    code: str


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


def test_an_event_is_written_with_its_type_its_time_and_its_fields():
    class Paid(Event):
        user_id: str
        amount: Decimal

    at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    assert encode_event(Paid(user_id="ana", amount=Decimal("1.10"), timestamp=at)) == (
        b'{"type":"Paid","timestamp":"2026-03-01T12:00:00Z","user_id":"ana","amount":"1.10"}'
    )


def test_only_a_version_above_1_is_written():
    class Paid(Event, version=2):
        user_id: str

        @classmethod
        def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
            return old

    assert encode_event(Paid(user_id="ana")).startswith(b'{"_schema_version":2,"type":"Paid",')


def test_what_former_code_can_read_says_so():
    class Paid(Event, version=2, readable_from=1):
        user_id: str
        currency: str

        @classmethod
        def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
            return {**old, "currency": "EUR"}

    assert encode_event(Paid(user_id="ana", currency="USD")).startswith(
        b'{"_schema_version":2,"_readable_from":1,"type":"Paid",'
    )


def test_fields_of_a_base_class_come_first():
    class ShopEvent(Event):
        user_id: str

    class Paid(ShopEvent):
        amount: int

    assert list(event_spec(Paid).hints) == ["timestamp", "user_id", "amount"]
    assert Paid(user_id="ana", amount=1) != Paid(user_id="ana", amount=2)


def test_a_base_class_is_an_event_type_of_its_own():
    class ShopEvent(Event):
        user_id: str

    class Paid(ShopEvent):
        pass

    class Shop(View, key="user_id"):
        shop_events: int = count(ShopEvent)
        payments: int = count(Paid)

    row = Shop.fold([Paid(user_id="ana"), ShopEvent(user_id="ana"), Paid(user_id="ana")])

    assert (row.shop_events, row.payments) == (1, 2)


def test_classes_of_a_function_may_be_named_in_annotations():
    class Pet(msgspec.Struct):
        name: str

    class Adopted(Event):
        user_id: str
        pet: Pet
        former: Optional[Pet] = None  # noqa: UP045 - the old way of writing it

    class Owner(View, key="user_id"):
        pets: list[Pet] = []  # noqa: RUF012
        last: Pet | None = latest(Adopted.pet)

        @on(Adopted)
        def adopted(self, event: Adopted) -> None:
            self.pets.append(event.pet)

    row = Owner.fold([Adopted(user_id="ana", pet=Pet("Rex"))])

    assert (row.pets, row.last) == ([Pet("Rex")], Pet("Rex"))


def test_fields_of_every_kind_are_read_from_the_wire():
    class Everything(Event):
        k: str
        literal: Literal["a", "b"]
        color: Color
        identity: uuid.UUID
        address: Address
        size: Size
        coupon: Coupon
        anything: Any
        either: int | str
        maybe: Optional[int] = None  # noqa: UP045
        limited: Annotated[int, msgspec.Meta(ge=0)] = 0
        wait: timedelta = timedelta(seconds=1)
        tags: list[str] = ["new"]  # noqa: RUF012 - an event's default is copied for each event
        raw: bytes = b""

    class Seen(View, key="k"):
        last: dict[str, Any] = {}  # noqa: RUF012

        @on(Everything)
        def seen(self, event: Everything) -> None:
            self.last = msgspec.to_builtins(event)

    event = Everything(
        k="x",
        literal="b",
        color=Color.BLUE,
        identity=uuid.UUID(int=7),
        address=Address("Rome"),
        size=Size(1, 2),
        coupon={"code": "C"},
        anything=[1, {"a": None}],
        either="text",
    )

    seen = Seen.fold([event]).last

    assert {**seen, "_schema_version": None} == {**msgspec.to_builtins(event), "_schema_version": None}


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"literal": "c"}, "Wide: Invalid enum value 'c' - at `$.literal`"),
        ({"limited": -1}, "Wide: Expected `int` >= 0 - at `$.limited`"),
        ({"limited": 2**63}, "Wide: Expected `int` <= 9223372036854775807 - at `$.limited`"),
        ({"code": "lower"}, "Wide: Expected `str` matching regex '^[A-Z]+$' - at `$.code`"),
        ({"address": {"zip": "1"}}, "Wide: Object missing required field `city` - at `$.address`"),
    ],
)
def test_limits_hold_on_the_wire(wire, expected):
    class Wide(Event):
        k: str
        literal: Literal["a", "b"] = "a"
        limited: Annotated[int, msgspec.Meta(ge=0)] = 0
        code: Annotated[str, msgspec.Meta(pattern="^[A-Z]+$")] | None = None
        address: Address | None = None

    class Seen(View, key="k"):
        last: str = ""

        @on(Wide)
        def seen(self, event: Wide) -> None:
            self.last = repr(event)

    with pytest.raises(Exception, match="cannot be folded") as caught:
        Seen.fold([{"type": "Wide", "k": "x", "timestamp": "2026-01-01T00:00:00Z", **wire}])

    assert caught.value.reason == expected


def test_a_field_may_have_another_name_on_the_wire():
    class Imported(Event):
        k: str
        class_: str = msgspec.field(name="class")
        count_: int = msgspec.field(default=1, name="count")

    class Seen(View, key="k"):
        last_class: str | None = latest(Imported.class_)
        total_count: int = total(Imported.count_)

    wire = {"type": "Imported", "k": "x", "class": "A", "count": 3, "timestamp": "2026-01-01T00:00:00Z"}

    row = Seen.fold([Imported(k="x", class_="B"), wire])

    assert (row.last_class, row.total_count) == ("A", 4)


UserId = NewType("UserId", str)
Cents = NewType("Cents", Annotated[int, msgspec.Meta(ge=0)])


def test_a_named_type_is_the_type_that_it_stands_for():
    class Billed(Event):
        user_id: UserId
        amount: Cents | None = None

    class Bills(View, key="user_id"):
        amount: int = total(Billed.amount)

    bad = wire("Billed", user_id="x", amount=-1)

    changes = fold_values(Bills, [wire("Billed", user_id="x", amount=5), bad])

    assert (columns(changes), reasons(changes)) == ([("x", 5)], ["Billed: Expected `int` >= 0 - at `$.amount`"])


def test_names_that_generated_code_uses_are_free_for_fields():
    class Odd(Event):
        key: str
        e: int = 1
        row: int = 2
        t0: int = 3
        UTC: int = 4
        offset: int = 5
        decode: int = 6
        value: Decimal = Decimal(7)
        kind: int = 8

    class Oddity(View, key="key"):
        e: int = total(Odd.e)
        row: int = total(Odd.row)
        t0: int | None = latest(Odd.t0)
        UTC: int = total(Odd.UTC, where=Odd.offset > 4)
        offset: int = total(Odd.offset)
        decode: int = total(Odd.decode)
        value: Decimal = total(Odd.value)
        kind: int = 0
        type: str = ""

        @on(Odd)
        def handle(self, event: Odd) -> None:
            self.kind += event.kind
            self.type = "odd"

    row = Oddity.fold([Odd(key="x"), Odd(key="x")])

    assert [row.e, row.row, row.t0, row.UTC, row.offset, row.decode, row.value, row.kind, row.type] == [
        2, 4, 3, 8, 10, 12, Decimal(14), 16, "odd",
    ]  # fmt: skip


def test_handlers_may_use_methods_properties_and_class_variables_of_events():
    class Priced(Event):
        k: str
        net: Decimal
        VAT: ClassVar[Decimal] = Decimal("0.20")

        @property
        def gross(self) -> Decimal:
            return self.net * (1 + self.VAT)

        def above(self, limit: int) -> bool:
            return self.gross > limit

    class Prices(View, key="k"):
        gross: Decimal = Decimal(0)
        high: int = 0

        @on(Priced)
        def priced(self, event: Priced) -> None:
            self.gross += event.gross
            self.high += int(event.above(11))

    row = Prices.fold([Priced(k="x", net=Decimal("10.00")), Priced(k="x", net=Decimal("5.00"))])

    assert (row.gross, row.high) == (Decimal("18.0000"), 1)


def test_a_default_is_brought_to_the_type_of_its_field():
    class Rated(Event):
        k: str
        rate: float = 1
        at: datetime = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))

    class Rates(View, key="k"):
        rate: float | None = latest(Rated.rate)
        at: datetime | None = latest(Rated.at)

    row = Rates.fold([{"type": "Rated", "k": "x", "timestamp": "2026-01-01T00:00:00Z"}])

    assert (repr(row.rate), row.at) == ("1.0", datetime(2025, 12, 31, 22, tzinfo=UTC))


def test_upcasters_run_one_after_the_other():
    class Paid(Event, version=3):
        k: str
        amount: Decimal
        currency: str

        @classmethod
        def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
            return {**old, "currency": "EUR"}

        @classmethod
        def upcast_2(cls, old: dict[str, Any]) -> dict[str, Any]:
            old["amount"] = old.pop("price")  # it may change what it is given
            return old

    class Payments(View, key="k"):
        paid: Decimal = total(Paid.amount, where=Paid.currency == "EUR")

    one = {"type": "Paid", "k": "x", "price": 1.10}
    two = {"type": "Paid", "k": "x", "price": "2.20", "currency": "EUR", "_schema_version": 2}
    three = Paid(k="x", amount=Decimal("3.30"), currency="EUR")

    assert Payments.fold([one, two, three]).paid == Decimal("6.60")


@pytest.mark.parametrize(
    ("upcaster", "reason"),
    [
        (lambda old: old["gone"], "Paid: upcast_1 raised KeyError: 'gone'"),
        (lambda _: None, "Paid: upcast_1 returned NoneType, not a dict"),
        (lambda old: [old], "Paid: upcast_1 returned list, not a dict"),
        (lambda old: {**old, "tags": {"a"}}, "Paid: upcast_1: expected a list, got a set, which has no stable order"),
        (lambda old: {**old, "tags": [float("nan")]}, "Paid: upcast_1: expected a finite number, got nan"),
        (
            lambda old: {**old, "tags": object()},
            "Paid after upcasting from version 1: Encoding objects of type object is unsupported",
        ),
        (
            lambda old: {**old, "tags": ["\ud800"]},
            "Paid after upcasting from version 1: 'utf-8' codec can't encode character '\\ud800' in position 0",
        ),
        (lambda _: {}, "Paid after upcasting from version 1: Object missing required field `k`"),
        (lambda old: {**old, "k": 1}, "Paid after upcasting from version 1: Expected `str`, got `int` - at `$.k`"),
    ],
)
def test_an_upcaster_that_fails_costs_its_event_only(upcaster, reason):
    class Paid(Event, version=2):
        k: str
        tags: list[str] = []  # noqa: RUF012

        @classmethod
        def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
            return upcaster(old)

    class Payments(View, key="k"):
        last: list[str] | None = latest(Paid.tags)
        k_: str | None = latest(Paid.k)

    new = wire("Paid", k="x", tags=["new"], _schema_version=2)
    changes = fold_values(Payments, [wire("Paid", k="x"), new])

    [said] = reasons(changes)
    assert said.startswith(reason), said
    assert columns(changes) == [("x", '["new"]', "x")]


def test_what_an_upcaster_says_of_type_and_version_does_not_count():
    class Paid(Event, version=2):
        k: str

        @classmethod
        def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
            return {**old, "type": "Other", "_schema_version": 99}

    class Payments(View, key="k"):
        n: int = count(Paid)

    assert Payments.fold([{"type": "Paid", "k": "x"}]).n == 1


def test_a_newer_version_that_says_so_is_read_as_if_it_were_the_codes_own():
    class Paid(Event, version=2):
        k: str
        cents: int

        @classmethod
        def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
            return {**old, "cents": old["amount"]}

    class Payments(View, key="k"):
        cents: int = total(Paid.cents)

    newer = {"k": "x", "cents": 2, "currency": "USD", "_schema_version": 4}
    changes = fold_values(
        Payments,
        [
            wire("Paid", k="x", amount=1),
            wire("Paid", **newer, _readable_from=2),
            wire("Paid", **newer, _readable_from=1),
            wire("Paid", **newer, _readable_from=3),
            wire("Paid", **newer),
            wire("Paid", **{**newer, "cents": "2"}, _readable_from=2),
        ],
    )

    assert columns(changes) == [("x", 5)]
    unknown = "Paid version 4 is newer than this code, which reads up to 2"
    assert reasons(changes) == [unknown, unknown, "Paid: Expected `int`, got `str` - at `$.cents`"]


@pytest.mark.parametrize("readable_from", [0, -1, "1", True, 1.0, None])
def test_a_newer_version_is_not_read_if_what_it_says_is_no_version(readable_from):
    class Paid(Event):
        k: str

    class Payments(View, key="k"):
        n: int = count(Paid)

    newer = wire("Paid", k="x", _schema_version=2, _readable_from=readable_from)

    assert reasons(fold_values(Payments, [newer])) == ["Paid version 2 is newer than this code, which reads up to 1"]


def test_hasattr_works_on_event_types():
    class Paid(Event):
        amount: int

    assert (hasattr(Paid, "amount"), hasattr(Paid, "price"), hasattr(Paid, "__price__")) == (True, False, False)


def test_a_type_checker_knows_the_fields(tmp_path):
    """What makes fields usable in folds at run time must not make any name a field."""
    file = tmp_path / "declared.py"
    file.write_text(
        "from decimal import Decimal\n"
        "from kappa import Event, View, total\n"
        "class Paid(Event):\n"
        "    user_id: str\n"
        "    amount: Decimal\n"
        "class Payments(View, key='user_id'):\n"
        "    paid: Decimal = total(Paid.amount)\n"
        "    typo: Decimal = total(Paid.amonut)\n"
    )

    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path), str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout

    assert [line.partition(": error: ")[2] for line in said.splitlines()] == [
        '"type[Paid]" has no attribute "amonut"  [attr-defined]'
    ]


# What is refused.


class Paid(Event):
    user_id: str
    amount: Decimal = Decimal(0)


def test_an_unknown_field_is_refused():
    with refused("event Paid has no field 'amonut'", "choose one of: timestamp, user_id, amount"):
        total(Paid.amonut)  # wrong


def test_an_unknown_option_is_refused():
    with refused(
        "event Bought has no option versions", "the options of an event class are version=N and readable_from=M"
    ):

        class Bought(Event, versions=2):  # wrong
            user_id: str


@pytest.mark.parametrize("version", [0, -1, "2", True])
def test_a_version_that_is_no_number_from_1_is_refused(version):
    with refused(f"event Bought: expected a version from 1, got {version!r}", "count versions from 1"):

        class Bought(Event, version=version):  # wrong
            user_id: str


@pytest.mark.parametrize("readable_from", [0, 3, "1", True])
def test_to_be_readable_from_a_version_that_is_none_is_refused(readable_from):
    with refused(
        f"event Bought: expected readable_from to be a version from 1 to 2, got {readable_from!r}",
        "name the oldest version whose code can read what this class writes",
    ):

        class Bought(Event, version=2, readable_from=readable_from):  # wrong
            @classmethod
            def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
                return old


def test_a_missing_upcaster_is_refused():
    with refused(
        "event Bought is at version 3 but cannot read version 2", "add a class method upcast_2(cls, old: dict)"
    ):

        class Bought(Event, version=3):  # wrong
            @classmethod
            def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
                return old


def test_an_upcaster_that_never_runs_is_refused():
    with refused(
        "event Bought is at version 1, so upcast_1 never runs", "raise the class's version to 2, or delete upcast_1"
    ):

        class Bought(Event):  # wrong
            @classmethod
            def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
                return old


def test_an_upcaster_that_is_no_class_method_is_refused():
    with refused(
        "event Bought: upcast_1 must take the old fields and nothing else", "write @classmethod, then def upcast_1"
    ):

        class Bought(Event, version=2):  # wrong
            def upcast_1(self, old: dict[str, Any]) -> dict[str, Any]:
                return old


@pytest.mark.parametrize("name", ["type", "_private", "_schema_version", "_readable_from"])
def test_names_of_the_wire_format_are_refused(name):
    with refused(f"event Bought cannot have a field '{name}'", "choose a name without a leading underscore"):
        type(Event)("Bought", (Event,), {"__module__": __name__, "__annotations__": {name: str}})  # wrong


@pytest.mark.parametrize("name", ["type", "_schema_version"])
def test_a_field_cannot_be_called_like_the_format_on_the_wire_either(name):
    with refused(f"event Bought cannot call a field '{name}'", "choose another name"):

        class Bought(Event):
            kind: str = msgspec.field(name=name)  # wrong


@pytest.mark.parametrize(
    "hint", ["set[str]", "frozenset[int]", "dict[str, set[int]]", "list[Tagged]", "set[str] | None"]
)
def test_a_set_is_refused(hint):
    with refused("event Bought: field 'tags' holds a set, which has no stable order", "declare a list"):
        namespace = {"__module__": __name__, "__annotations__": {"tags": hint}}
        type(Event)("Bought", (Event,), namespace)  # wrong


class Tagged(msgspec.Struct):
    tags: set[str]


@pytest.mark.parametrize(
    ("hint", "flaw"),
    [
        ("complex", "holds complex, which cannot be read from JSON"),
        ("list[object]", "holds object, which cannot be read from JSON"),
        ("msgspec.Raw", "holds bytes that belong to something else"),
        ("dict[tuple[int, int], str]", "holds a dict whose keys cannot be written as JSON"),
        ("Address | Size", "has a type that cannot be read: Type unions may not contain more than one dict-like type"),
        ("Annotated[datetime, msgspec.Meta(tz=False)]", "holds times without zone, which are no points in time"),
    ],
)
def test_a_type_that_cannot_be_read_alike_every_time_is_refused(hint, flaw):
    with refused(f"event Bought: field 'odd' {flaw}", "declare"):
        type(Event)("Bought", (Event,), {"__module__": __name__, "__annotations__": {"odd": hint}})  # wrong


def test_a_type_that_does_not_exist_is_refused_at_its_field():
    with refused("event Bought: the type of 'amount' is 'Decimla', which cannot be resolved here", "import the name"):

        class Bought(Event):
            user_id: str
            amount: Decimla  # noqa: F821  # wrong


def test_another_type_of_timestamp_is_refused():
    with refused("event Bought: 'timestamp' is not a datetime", "declare timestamp: datetime"):

        class Bought(Event):
            timestamp: str  # wrong


@pytest.mark.parametrize("name", ["__post_init__", "__init__"])
def test_code_that_runs_when_an_event_is_made_is_refused(name):
    with refused(
        f"event Bought cannot have {name}: views decode only the fields that they use", "declare limits with Annotated"
    ):
        type(Event)("Bought", (Event,), {"__module__": __name__, name: lambda _: None})  # wrong


def test_a_default_of_another_type_is_refused():
    with refused(
        "event Bought: the default of 'amount': expected `Decimal`, got `int` 0", "write a constant of the field's type"
    ):

        class Bought(Event):
            amount: Decimal = 0  # wrong


def test_a_default_without_zone_is_refused():
    with refused("expected a `datetime` with a zone", "write a constant of the field's type"):

        class Bought(Event):
            at: datetime = datetime(2026, 1, 1)  # noqa: DTZ001  # wrong


def test_a_default_that_a_function_makes_is_refused():
    """It would be made anew in each replay."""
    with refused(
        "a default_factory must be a class: a function may return something else each time", "write a constant"
    ):

        class Bought(Event):
            at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))  # wrong


def test_a_default_that_cannot_be_folded_is_refused_as_a_field_type_would_be():
    with pytest.raises(DefinitionError, match="got a set, which has no stable order"):

        class Bought(Event):
            tags: list[str] = {"a"}  # type: ignore[assignment]  # noqa: RUF012
