"""Views: what a declaration means, and what is refused while it is written, with the line and the remedy."""

from __future__ import annotations

import enum
import functools
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Optional, TypedDict

import msgspec
import pytest
from model.folding import batch, columns, fold_values, new_kernel, wire
from model.refusals import refused

from kappa import Event, View, average, count, distinct, latest, on, total
from kappa.model.schema import Column, ColumnType
from kappa.model.views import view_name, view_spec


class Address(msgspec.Struct):
    city: str


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 9


class Bought(Event):
    user_id: str
    price: Decimal = Decimal(1)
    event_id: str = ""


class Moved(Event):
    user_id: str
    house: int
    city: str = ""


def test_a_view_is_named_after_its_class():
    assert [view_name(name) for name in ("UserProfile", "HTTPRoute2Count", "A", "Already_snake")] == [
        "user_profile",
        "http_route2_count",
        "a",
        "already_snake",
    ]


def test_columns_are_the_key_and_the_public_fields():
    class Customer(View, key="user_id"):
        orders: int = count(Bought)
        spent: Decimal = total(Bought.price)
        mean: Decimal | None = average(Bought.price)
        last_at: datetime | None = latest(Bought.timestamp)
        tags: list[str] = []  # noqa: RUF012
        address: Address | None = None
        device: Literal["web", "app"] | None = None
        color: Color = Color.RED
        size: Size = Size.BIG
        identity: uuid.UUID = uuid.UUID(int=1)
        wait: timedelta = timedelta(0)
        opens: time = time(9)
        limited: Annotated[int, msgspec.Meta(ge=0)] = 0
        _streak: int = 0
        LIMIT: ClassVar[int] = 5

    spec = view_spec(Customer)

    assert spec.key_columns == (Column("user_id", ColumnType.TEXT),)
    assert [(column.name, column.type.value, column.nullable) for column in spec.columns] == [
        ("orders", "integer", False),
        ("spent", "decimal", False),
        ("mean", "decimal", True),
        ("last_at", "timestamp", True),
        ("tags", "json", False),
        ("address", "json", True),
        ("device", "text", True),
        ("color", "text", False),
        ("size", "integer", False),
        ("identity", "text", False),
        ("wait", "text", False),
        ("opens", "text", False),
        ("limited", "integer", False),
    ]
    assert columns(fold_values(Customer, [wire("Bought", user_id="x", price="2")])) == [
        (
            "x", 1, Decimal(2), Decimal(2), datetime(2026, 3, 1, 12, tzinfo=UTC), "[]", None, None, "red", 9,
            "00000000-0000-0000-0000-000000000001", "P0D", "09:00:00", 0,
        )
    ]  # fmt: skip


def test_a_view_may_be_keyed_by_several_fields_of_text_and_numbers():
    class House(View, key=("city", "house")):
        moves: int = count(Moved)

    row = House.fold([Moved(user_id="ana", house=7, city="Rome")])

    assert (row.city, row.house, row.moves) == ("Rome", 7, 1)


def test_a_key_may_be_declared_as_a_field_too():
    class House(View, key="house"):
        house: int
        moves: int = count(Moved)

    assert repr(House.fold([Moved(user_id="ana", house=7)])) == "House(house=7, moves=1)"


def test_a_field_without_a_fold_keeps_its_default_until_a_handler_sets_it():
    class Customer(View, key="user_id"):
        orders: int = count(Bought)
        city: str | None = None
        address: Address = Address("nowhere")

    row = Customer.fold([Bought(user_id="ana")])

    assert (row.city, row.address) == (None, Address("nowhere"))


def test_a_mutable_default_is_copied_for_each_row():
    class Customer(View, key="user_id"):
        cities: list[str] = ["home"]  # noqa: RUF012

        @on(Moved)
        def moved(self, event: Moved) -> None:
            self.cities.append(event.city)

    first = Customer.fold([Moved(user_id="ana", house=1, city="Rome")])
    second = Customer.fold([Moved(user_id="bob", house=1, city="Oslo")])

    assert (first.cities, second.cities) == (["home", "Rome"], ["home", "Oslo"])


def test_a_default_is_brought_to_the_type_of_its_field():
    """Else a row would differ before and after it left memory."""

    class Customer(View, key="user_id"):
        orders: int = count(Bought)
        score: float = 0
        since: datetime = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))
        pair: list[int] = (1, 2)  # type: ignore[assignment]

    row = Customer.fold([Bought(user_id="ana")])

    assert (repr(row.score), row.since.isoformat(), row.pair) == ("0.0", "2025-12-31T22:00:00+00:00", [1, 2])


def test_classes_of_a_function_may_be_named_in_annotations():
    class Local(msgspec.Struct):
        name: str = ""

    class Customer(View, key="user_id"):
        orders: int = count(Bought)
        local: Local = Local("a")

    assert Customer.fold([Bought(user_id="ana")]).local == Local("a")


def test_fold_tells_one_key_from_several():
    class Customer(View, key="user_id"):
        orders: int = count(Bought)

    with pytest.raises(
        ValueError, match=r"^Customer.fold takes events of one key that the view folds, got keys: a, b$"
    ):
        Customer.fold([Bought(user_id="b"), Bought(user_id="a")])
    with pytest.raises(ValueError, match="got keys: none"):
        Customer.fold([Moved(user_id="a", house=1)])


@dataclass
class Visit:
    count: int = 0
    pages: list[str] = field(default_factory=list)


class Options(TypedDict, total=False):
    dark: bool


class Pair(NamedTuple):
    left: int
    right: list[str]


class Node(msgspec.Struct):
    name: str
    kids: list[Node] = []


class Everything(View, key="user_id"):
    visit: Visit = Visit(1, ["/"])
    options: Options = {"dark": True}  # noqa: RUF012
    pair: Pair = Pair(1, ["a"])
    node: Node = Node("root", [Node("kid")])
    numbers: tuple[int, ...] = (1, 2)
    raw: bytes = b"\0\xff"
    either: int | str = 5
    days: dict[date, int] = {}  # noqa: RUF012
    by_number: dict[int, str] = {1: "a"}  # noqa: RUF012
    prices: dict[str, Decimal] = {"a": Decimal("1.0")}  # noqa: RUF012
    bare: list = [1, "a", None]  # noqa: RUF012
    maybe: Optional[list[int]] = None  # noqa: UP045 - the old way of writing it

    @on(Bought)
    def bought(self, event: Bought) -> None:
        self.visit.count += 1
        self.visit.pages.append("/next")
        self.options["dark"] = not self.options["dark"]
        self.pair = Pair(self.pair.left + 1, [*self.pair.right, "b"])
        self.node.kids[0].kids.append(Node("grandchild"))
        self.numbers += (len(self.numbers),)
        self.raw += b"!"
        self.either = "text"
        self.days[event.timestamp.date()] = len(self.raw)
        self.by_number[2] = "b"
        self.prices["b"] = event.price
        self.bare.append({"z": (1, 2)})
        self.maybe = [*(self.maybe or []), 1]


def test_fields_of_every_type_survive_leaving_memory():
    first, second = wire("Bought", user_id="x", price="2.50"), wire("Bought", user_id="x", price="3")

    [at_once] = fold_values(Everything, [first, second]).rows
    [halfway] = fold_values(Everything, [first]).rows
    kernel = new_kernel(Everything, load=lambda _: {b"x": halfway.state})
    kernel.fold(batch([(b"x", second)], start=1))
    [read_back] = kernel.take_changes().rows

    assert read_back == at_once
    assert at_once.columns == (
        "x", '{"count":3,"pages":["/","/next","/next"]}', '{"dark":true}', '[3,["a","b","b"]]',
        '{"name":"root","kids":[{"name":"kid","kids":[{"name":"grandchild","kids":[]},{"name":"grandchild","kids":[]}]}]}',
        "[1,2,2,3]", "AP8hIQ==", '"text"', '{"2026-03-01":4}', '{"1":"a","2":"b"}', '{"a":"1.0","b":"3"}',
        '[1,"a",null,{"z":[1,2]},{"z":[1,2]}]', "[1,1]",
    )  # fmt: skip


# Duplicates.


class Loyal(View, key="user_id", dedupe="10m"):
    orders: int = count(Bought)
    _names: list[str] = []  # noqa: RUF012


def bought(event_id: str | None, minute: int) -> Bought:
    at = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(minutes=minute)
    return Bought(user_id="ana", event_id=event_id, timestamp=at)


def test_an_event_id_seen_within_the_window_is_a_duplicate():
    assert Loyal.fold([bought("a", 0), bought("a", 10), bought("b", 10), bought("a", 3)]).orders == 2


def test_an_event_id_seen_before_the_window_is_none():
    assert Loyal.fold([bought("a", 0), bought("a", 11)]).orders == 2


def test_an_event_without_id_is_no_duplicate():
    assert Loyal.fold([bought("", 0), bought("", 0)]).orders == 2


def test_an_event_id_may_be_null():
    class Seen(Event):
        k: str
        event_id: str | None = None

    class Log(View, key="k", dedupe="1h"):
        seen: int = count(Seen)

    values = [wire("Seen", k="x"), wire("Seen", k="x", event_id=None), wire("Seen", k="x", event_id="a")]

    assert columns(fold_values(Log, [*values, values[-1]])) == [("x", 3)]


def test_an_event_that_could_not_be_folded_is_not_remembered():
    class Customer(View, key="user_id", dedupe="10m"):
        spent: Decimal = total(100 / Bought.price)

    bad = wire("Bought", user_id="x", event_id="a", price="0")
    good = wire("Bought", user_id="x", event_id="a", price="4")

    changes = fold_values(Customer, [bad, good, good])

    assert (columns(changes), len(changes.dead_letters)) == ([("x", Decimal(25))], 1)


def test_the_memory_of_event_ids_is_bounded_by_the_window():
    events = [bought(f"id{minute}", minute) for minute in range(1_000)]
    far_future = Bought(user_id="ana", event_id="future", timestamp=datetime(9999, 1, 1, tzinfo=UTC))

    row = Loyal.fold([far_future, *events])

    assert row.orders == 1_001
    assert len(row._seen_event_ids) <= 15


# What is refused.


def test_a_view_without_key_is_refused():
    with refused("view Customer has no key", 'write class Customer(View, key="user_id")'):

        class Customer(View):  # wrong
            orders: int = count(Bought)


@pytest.mark.parametrize("key", ["", (), 5, ("user_id", 5), (("user_id",),)])
def test_a_key_that_names_no_field_is_refused(key):
    with refused("view Customer has no key", 'write class Customer(View, key="user_id")'):

        class Customer(View, key=key):  # wrong
            orders: int = count(Bought)


def test_a_key_field_named_twice_is_refused():
    with refused("is keyed by user_id, user_id: one of them twice", "name each field once"):

        class Customer(View, key=("user_id", "user_id")):  # wrong
            orders: int = count(Bought)


def test_a_key_that_an_event_lacks_is_refused():
    with refused(
        "view House is keyed by 'house', which event Bought does not have", "add the field to Bought, or choose a key"
    ):

        class House(View, key="house"):  # wrong
            moves: int = count(Moved)
            orders: int = count(Bought)


def test_a_key_that_is_no_text_or_whole_number_is_refused():
    with refused("is keyed by 'price', which is Decimal in Bought", "a key field is str or int"):

        class Prices(View, key="price"):  # wrong
            orders: int = count(Bought)


def test_a_key_declared_as_another_type_is_refused():
    with refused("is keyed by 'house', which is int in Moved", "the same in every event"):

        class House(View, key="house"):  # wrong
            house: str
            moves: int = count(Moved)


def test_a_key_whose_type_differs_between_events_is_refused():
    class Sold(Event):
        house: str

    with refused("is keyed by 'house', which is str in Sold", "the same in every event"):

        class House(View, key="house"):  # wrong
            moves: int = count(Moved)
            sales: int = count(Sold)


def test_an_unknown_option_is_refused():
    with refused("view Customer has no option keys", "the options of a view are key=, dedupe= and expect="):

        class Customer(View, key="user_id", keys="user_id"):  # wrong
            orders: int = count(Bought)


@pytest.mark.parametrize("dedupe", ["soon", "0m", "10", 10, "1.5h"])
def test_a_window_that_is_no_duration_is_refused(dedupe):
    with refused("expected a duration such as 90s, 10m, 2h or 365d", 'write dedupe="10m"'):

        class Customer(View, key="user_id", dedupe=dedupe):  # wrong
            orders: int = count(Bought)


def test_removing_duplicates_needs_an_event_id():
    with refused("view House removes duplicates, but event Moved has no event_id", "add event_id: str to Moved"):

        class House(View, key="house", dedupe="10m"):  # wrong
            moves: int = count(Moved)


def test_a_view_that_folds_nothing_is_refused():
    with refused("view Customer folds no event", "declare a fold"):

        class Customer(View, key="user_id"):  # wrong
            city: str | None = None


def test_a_view_of_a_view_is_refused():
    with refused("view Better inherits from another view", "derive it from View; share code as plain functions"):

        class Better(Loyal, key="user_id"):  # wrong
            more: int = count(Moved)


def test_two_event_types_of_one_name_are_refused():
    def another() -> type[Event]:
        class Bought(Event):
            user_id: str

        return Bought

    with refused("view Customer folds two event types called Bought", "rename one of the classes"):

        class Customer(View, key="user_id"):  # wrong
            orders: int = count(Bought, another())


def test_a_name_that_a_version_could_have_is_refused():
    with refused("view Shop__v1 would be called shop__v1", "leave out double underscores"):

        class Shop__v1(View, key="user_id"):  # noqa: N801  # wrong
            orders: int = count(Bought)


def test_a_missing_default_is_refused():
    with refused("view Customer gives field 'city' no default", "write city: ... = <default>"):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)
            city: str  # wrong


def test_a_default_of_another_type_is_refused():
    with refused("the default of 'spent': expected `Decimal`, got `int` 0", "write a constant of the field's type"):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)
            spent: Decimal = 0  # type: ignore[assignment]  # wrong


def test_a_default_that_is_an_event_s_field_is_refused():
    with refused("takes Bought.price as the default of 'price'", "write price: ... = latest(Bought.price)"):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)
            price: Decimal | None = Bought.price  # wrong


def test_a_default_made_by_a_function_is_refused():
    with refused("a default_factory must be a class", "write a constant of the field's type"):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)
            identity: uuid.UUID = msgspec.field(default_factory=lambda: uuid.uuid4())  # noqa: PLW0108  # wrong


@pytest.mark.parametrize("hint", ["set[str]", "dict[str, frozenset[int]]", "Tagged | None"])
def test_a_set_is_refused(hint):
    with refused(
        "has a field 'tags' that holds a set, which has no stable order", "declare a list, or dict[str, bool]"
    ):
        annotations = {"n": int, "tags": hint}
        namespace = {"__module__": __name__, "__annotations__": annotations, "tags": None, "n": count(Bought)}
        type(View)("Customer", (View,), namespace, key="user_id")  # wrong


class Tagged(msgspec.Struct):
    tags: frozenset[str]


def test_a_type_that_cannot_be_stored_is_refused():
    with refused("has a field 'shape' that holds complex, which cannot be read from JSON", "declare a msgspec.Struct"):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)
            shape: complex | None = None  # wrong


def test_a_fold_without_type_is_refused():
    with refused("view Customer folds into 'orders' without a type", "write orders: int = ..."):

        class Customer(View, key="user_id"):
            orders = count(Bought)  # wrong


def test_a_fold_into_the_key_is_refused():
    with refused("view Customer cannot fold into its key 'user_id'", "fold into another field"):

        class Customer(View, key="user_id"):
            user_id: int = count(Bought)  # wrong


@pytest.mark.parametrize("name", ["fold", "_offset", "__private"])
def test_names_that_are_taken_are_refused(name):
    with refused(f"view Customer cannot have a field '{name}'", "choose another name"):
        annotations = {name: int, "n": int}
        namespace = {"__module__": __name__, "__annotations__": annotations, name: 0, "n": count(Bought)}
        type(View)("Customer", (View,), namespace, key="user_id")  # wrong


def test_a_name_that_a_fold_keeps_its_state_under_is_refused():
    with refused("view Customer cannot have a field '_price_count'", "a fold keeps its state under this name"):

        class Customer(View, key="user_id"):  # wrong
            price: Decimal | None = average(Bought.price)
            _price_count: int = 0


def test_names_that_differ_by_case_only_are_refused():
    with refused("has fields 'city' and 'City', which are one column in SQL", "rename one of them"):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)
            city: str = ""
            City: str = ""  # wrong


@pytest.mark.parametrize("name", ["__post_init__", "__init__", "__setattr__"])
def test_code_that_runs_when_a_row_is_made_is_refused(name):
    """It would run again each time that a row is read back."""
    with refused(f"view Customer cannot have {name}", "use defaults and handlers"):
        namespace = {"__module__": __name__, "__annotations__": {"n": int}, "n": count(Bought), name: lambda _: None}
        type(View)("Customer", (View,), namespace, key="user_id")  # wrong


def test_two_handlers_for_one_event_are_refused():
    with refused("view Customer has two handlers for Moved: moved and moved_too", "merge them into one"):

        class Customer(View, key="user_id"):
            city: str = ""

            @on(Moved)
            def moved(self, event: Moved) -> None:
                self.city = event.city

            @on(Moved)  # wrong
            def moved_too(self, event: Moved) -> None:
                self.city = event.city


def test_a_handler_that_sets_a_fold_is_refused():
    with refused("view Customer sets 'orders' in handler moved, but it is a fold", "in another field"):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)

            @on(Moved)
            def moved(self, event: Moved) -> None:
                if event.city:
                    self.orders = 0  # wrong


def test_a_handler_that_sets_the_key_is_refused():
    with refused("view Customer sets 'user_id' in handler moved, but it is the key", "in another field"):

        class Customer(View, key="user_id"):
            city: str = ""

            @on(Moved)
            def moved(self, event: Moved) -> None:
                self.city, self.user_id = event.city, "me"  # wrong


@pytest.mark.parametrize(
    "statement", ["self.town = 1", "self.town += 1", "for self.town in (): pass", "[self.town] = [1]"]
)
def test_a_handler_that_sets_an_unknown_field_is_refused(tmp_path, statement):
    file = tmp_path / "declared.py"
    file.write_text(
        "from kappa import View, on\n"
        "class Customer(View, key='user_id'):\n"
        "    city: str = ''\n"
        "    @on(Moved)\n"
        "    def moved(self, event):\n"
        f"        {statement}  # wrong\n"
    )
    with refused("view Customer sets 'town' in handler moved, but has no such field", "declare the field: town: ..."):
        exec(compile(file.read_text(), file, "exec"), {"Moved": Moved, "__name__": __name__})  # noqa: S102 - as an import would


def test_a_handler_that_deletes_a_field_is_refused():
    with refused("view Customer deletes 'city' in handler moved", "set it to None or to its default"):

        class Customer(View, key="user_id"):
            city: str = ""

            @on(Moved)
            def moved(self, event: Moved) -> None:
                del self.city  # wrong


def test_a_handler_that_uses_the_state_of_a_fold_is_refused():
    with refused("uses '_cities_values' in handler moved, which is the state of a fold", "in a field of its own"):

        class Customer(View, key="user_id"):
            cities: int = distinct(Moved.city)
            last: str = ""

            @on(Moved)  # wrong
            def moved(self, event: Moved) -> None:
                self.last = next(iter(self._cities_values), "")


def test_an_asynchronous_handler_is_refused():
    for kind in ("async", "generator", "async generator"):
        with refused("handler moved is asynchronous or a generator", "write it as a plain `def`"):

            class Customer(View, key="user_id"):
                city: str = ""

                if kind == "async":

                    @on(Moved)  # wrong
                    async def moved(self, event: Moved) -> None: ...

                elif kind == "generator":

                    @on(Moved)  # wrong
                    def moved(self, event: Moved) -> Any:
                        yield

                else:

                    @on(Moved)  # wrong
                    async def moved(self, event: Moved) -> Any:
                        yield


def test_a_decorated_asynchronous_handler_is_refused_too():
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*arguments: Any) -> Any:
            return function(*arguments)

        return wrapper

    with refused("handler moved is asynchronous or a generator", "write it as a plain `def`"):

        class Customer(View, key="user_id"):
            city: str = ""

            @on(Moved)  # wrong
            @logged
            async def moved(self, event: Moved) -> None: ...


@pytest.mark.parametrize("parameters", ["", "self", "self, event, more", "*, self, event"])
def test_a_handler_with_another_signature_is_refused(tmp_path, parameters):
    file = tmp_path / "declared.py"
    file.write_text(
        "from kappa import View, on\n"
        "class Customer(View, key='user_id'):\n"
        "    city: str = ''\n"
        "    @on(Moved)  # wrong\n"
        f"    def moved({parameters}): ...\n"
    )
    with refused(
        "handler moved must take the row and the event", "declare it as def moved(self, event: Moved) -> None"
    ):
        exec(compile(file.read_text(), file, "exec"), {"Moved": Moved, "__name__": __name__})  # noqa: S102 - as an import would


@pytest.mark.parametrize("decorate", [staticmethod, classmethod, property])
def test_a_handler_that_would_not_be_called_with_the_row_is_refused(decorate):
    """Below such a decorator the mark of @on is hidden: the handler would never run."""
    with refused(f"handler moved is a {decorate.__name__}", "put @on(...) on the line above any other decorator"):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)

            @decorate  # wrong
            @on(Moved)
            def moved(self, event: Moved) -> None: ...


@pytest.mark.parametrize("event", [Event, View, "Moved", Moved.city])
def test_on_takes_an_event_type(event):
    with refused("@on takes an event type, got", "write @on(OrderPlaced)"):
        on(event)  # wrong


def test_a_type_that_does_not_exist_is_refused_at_its_field():
    with refused(
        "view Customer: the type of 'city' is 'Town | None', which cannot be resolved here", "import the name"
    ):

        class Customer(View, key="user_id"):
            orders: int = count(Bought)
            city: Town | None = None  # noqa: F821  # wrong
