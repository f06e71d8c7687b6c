"""Handlers: whatever they do and however they are written, an event changes its row completely or not at all."""

from __future__ import annotations

import decimal
import functools
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from model.folding import batch, columns, fold_values, new_kernel, reasons, wire
from model.refusals import refused

from kappa import Event, View, average, count, distinct, first, latest, maximum, on, total


class Step(Event):
    """Something happened. `do` says what its handler does, `to` is for the handler's use."""

    k: str
    do: str = ""
    to: Any = None
    n: int = 1
    items: list[str] = []  # noqa: RUF012
    price: Decimal = Decimal(1)


class Other(Event):
    k: str
    items: list[str] = []  # noqa: RUF012


class Part(msgspec.Struct):
    name: str = ""
    tags: list[str] = []


def step(do: str = "", **fields: Any) -> bytes:
    return wire("Step", k="x", do=do, **fields)


class Row(View, key="k"):
    """Every kind of fold beside every kind of field, and a handler that does what its event says, or raises."""

    events: int = count(Step)
    total_n: int = total(Step.n)
    mean: Decimal | None = average(Step.price)
    greatest: Decimal | None = maximum(Step.price)
    first_items: list[str] | None = first(Step.items)
    last_items: list[str] | None = latest(Step.items)
    kinds: int = distinct(Step.do)
    text: str = ""
    number: int = 0
    real: float = 0.0
    flag: bool = False
    amount: Decimal = Decimal(0)
    at: datetime | None = None
    day: date | None = None
    names: list[str] = []  # noqa: RUF012
    counts: dict[str, int] = {}  # noqa: RUF012
    part: Part = Part()
    anything: Any = None
    limited: Annotated[int, msgspec.Meta(ge=0)] = 0
    one_of: Literal["a", "b"] = "a"
    _private: list[int] = []  # noqa: RUF012

    @on(Step)
    def step(self, event: Step) -> None:
        if event.do:
            DEEDS[event.do](self, event)


def nested(row: Row, _: Step) -> None:
    row.part.tags.append("new")
    row.part.name = "new"
    row.counts["new"] = 1
    row.names.append("new")
    row._private.append(1)


DEEDS: dict[str, Callable[[Row, Step], object]] = {
    "nothing": lambda *_: None,
    "set": lambda row, event: setattr(row, *event.to),
    "nested": nested,
    "nested, then raise": lambda row, event: (nested(row, event), row.missing),
    "raise": lambda *_: 1 // 0,
    "delete": lambda row, event: delattr(row, event.to),
    "fold list": lambda row, _: row.last_items.append("mine"),
    "fold list, then raise": lambda row, _: (row.last_items.append("mine"), 1 // 0),
    "event list": lambda row, event: (setattr(row, "names", event.items), event.items.append("later")),
    "share": lambda row, event: (setattr(row, "names", event.items), setattr(row, "anything", event.items)),
}


START = columns(fold_values(Row, [step(items=["a"])]))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (step("raise"), "step raised ZeroDivisionError"),
        (step("nested, then raise"), "step raised AttributeError"),
        (step("fold list, then raise"), "step raised ZeroDivisionError"),
        (step("fold list"), "step set `last_items`: expected it to be left alone, since it is a fold"),
        (step("set", to=["events", 5]), "step set `events`: expected it to be left alone, since it is a fold"),
        (step("set", to=["mean", None]), "step set `mean`: expected it to be left alone, since it is a fold"),
        (
            step("set", to=["_mean_total", 5]),
            "step set `_mean_total`: expected it to be left alone, since it is the state of a fold",
        ),
        (
            step("set", to=["_kinds_values", {}]),
            "step set `_kinds_values`: expected it to be left alone, since it is the state of a fold",
        ),
        (step("set", to=["k", "me"]), "step set `k`: expected it to be left alone, since it is the key"),
        (
            step("set", to=["_offset", -5]),
            "step set `_offset`: expected it to be left alone, since it is the row's position",
        ),
        (step("set", to=["step", 1]), "step raised AttributeError: 'Row' object attribute 'step' is read-only"),
        (step("delete", to="text"), "step set `text`: raised AttributeError: 'Row' object has no attribute 'text'"),
        (step("delete", to="names"), "step set `names`: raised AttributeError: 'Row' object has no attribute 'names'"),
        (step("set", to=["text", 5]), "step set `text`: expected `str`, got `int` 5"),
        (step("set", to=["text", None]), "step set `text`: expected `str`, got `NoneType` None"),
        (step("set", to=["number", "5"]), "step set `number`: expected `int`, got `str` '5'"),
        (step("set", to=["number", True]), "step set `number`: expected `int`, got `bool` True"),
        (step("set", to=["number", 2**63]), "step set `number`: expected an `int` of 64 bits, got a larger one"),
        (step("set", to=["number", 10**500]), "step set `number`: expected an `int` of 64 bits, got a larger one"),
        (step("set", to=["text", 10**500]), "step set `text`: expected `str`, got `int`"),
        (step("set", to=["real", "1"]), "step set `real`: expected `float`, got `str` '1'"),
        (
            step("set", to=["real", 10**400]),
            "step set `real`: expected a finite `float`, got NaN, infinity or a larger number",
        ),
        (step("set", to=["flag", 1]), "step set `flag`: expected `bool`, got `int` 1"),
        (step("set", to=["amount", 5]), "step set `amount`: expected `Decimal`, got `int` 5"),
        (step("set", to=["at", "2026"]), "step set `at`: expected `datetime | None`, got `str` '2026'"),
        (step("set", to=["names", "a"]), "step set `names`: Expected `array`, got `str`"),
        (step("set", to=["names", ["a", 1]]), "step set `names`: Expected `str`, got `int` - at `$[1]`"),
        (step("set", to=["counts", {"a": "b"}]), "step set `counts`: Expected `int`, got `str` - at `$[...]`"),
        (step("set", to=["limited", -1]), "step set `limited`: Expected `int` >= 0"),
        (step("set", to=["one_of", "c"]), "step set `one_of`: Invalid enum value 'c'"),
        (step("set", to=["anything", 10**30]), "step set `anything`: expected an `int` of 64 bits, got a larger one"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_handler_that_fails_leaves_no_trace(bad, reason):
    changes = fold_values(Row, [step(items=["a"]), bad, step(items=["b"])])
    without = fold_values(Row, [step(items=["a"]), b'{"type":"Nobody"}', step(items=["b"])])

    [said] = reasons(changes)
    assert said.startswith(reason), said
    assert changes.rows == without.rows


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (["real", 3], 3.0),
        (["text", "smörgås \U0001f600"], "smörgås \U0001f600"),
        (["text", "a\0b"], "a\0b"),
        (["names", ["a", "b"]], '["a","b"]'),
        (["anything", {"a": [1, {"b": None}]}], '{"a":[1,{"b":null}]}'),
        (["number", -(2**63)], -(2**63)),
        (["limited", 3], 3),
        (["k", "x"], "x"),
    ],
)
def test_a_handler_may_set_any_field_of_its_own_by_name(to, expected):
    [row] = columns(fold_values(Row, [step("set", to=to)]))

    names = [name for name in Row.__struct_fields__ if not name.startswith("_")]
    assert row[names.index(to[0])] == expected


@pytest.mark.parametrize("name", ["events", "mean", "last_items", "k"])
def test_a_handler_may_set_what_is_not_its_own_to_an_equal_value(name):
    """Whether it is the same object depends on what was read back from state, and so must not matter."""
    equal = {"events": 2.0, "mean": 1, "last_items": ["a"], "k": "x"}[name]

    changes = fold_values(Row, [step(items=["a"]), step("set", to=[name, equal], items=["a"])])

    assert (reasons(changes), changes.rows[0].columns[1]) == ([], 2)
    assert columns(changes) == columns(fold_values(Row, [step(items=["a"]), step("nothing", items=["a"])]))


def test_a_row_shares_nothing_with_its_event_or_with_another_field():
    """In memory two fields could be one list; read back they would be two."""
    shared = fold_values(Row, [step("share", items=["a"]), step("nested")])
    stolen = fold_values(Row, [step("event list", items=["a"])])

    [row] = shared.rows
    names = [name for name in Row.__struct_fields__ if not name.startswith("_")]
    values = dict(zip(names, row.columns, strict=True))
    assert (values["names"], values["anything"], values["last_items"]) == ('["a","new"]', '["a"]', "[]")
    [row] = stolen.rows
    values = dict(zip(names, row.columns, strict=True))
    assert (values["names"], values["last_items"], values["first_items"]) == ('["a","later"]', '["a"]', '["a"]')


def test_the_first_event_of_a_key_may_fail_and_leaves_no_row():
    assert fold_values(Row, [step("nested, then raise")]).rows == []
    assert columns(fold_values(Row, [step("nested, then raise"), step(items=["a"])])) == START


# What else a handler may leave in a field. These raise in code that the event cannot carry.


class Zoneless(tzinfo):
    def utcoffset(self, _: datetime | None) -> None:
        return None


class Loud(str):
    __slots__ = ()


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def cyclic() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


def raise_silent() -> None:
    raise Silent


VALUES: dict[str, Callable[[], Any]] = {
    "surrogate": lambda: "\ud800",
    "surrogates": lambda: ["\ud800"],
    "nan": lambda: float("nan"),
    "infinity": lambda: float("-inf"),
    "decimal nan": lambda: Decimal("sNaN"),
    "decimal huge": lambda: Decimal("1E+5000"),
    "decimal long": lambda: Decimal("0." + "1" * 5_000),
    "decimal": lambda: Decimal("-0"),
    "naive": lambda: datetime(2026, 1, 1),  # noqa: DTZ001
    "zoneless": lambda: datetime(2026, 1, 1, tzinfo=Zoneless()),
    "edge": lambda: datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    "zoned": lambda: datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))),
    "set": lambda: {"a", "b"},
    "nested set": lambda: [{"a": ({"b"},)}],
    "tuple": lambda: ("a", "b"),
    "subclass": lambda: Loud("a"),
    "mute": Mute,
    "cyclic": cyclic,
    "odd keys": lambda: {(1, 2): "a"},
    "nan inside": lambda: {"a": [float("nan")]},
    "struct": lambda: Part("a", ["b"]),
    "struct in order": lambda: [Part("a")],
    "datetime for date": lambda: datetime(2026, 1, 1, tzinfo=UTC),
    "raise silent": raise_silent,
}


class Holder(View, key="k"):
    events: int = count(Step)
    text: str = ""
    real: float = 0.0
    amount: Decimal = Decimal(0)
    at: datetime | None = None
    day: date | None = None
    names: list[str] = []  # noqa: RUF012
    reals: list[float] = []  # noqa: RUF012
    anything: Any = None
    parts: list[Part] = []  # noqa: RUF012

    @on(Step)
    def held(self, event: Step) -> None:
        if event.do:
            setattr(self, event.to, VALUES[event.do]())


SURROGATE = "expected text in Unicode, got half of a surrogate pair"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("text", "surrogate", f"held set `text`: {SURROGATE}"),
        ("names", "surrogates", f"held set `names`: {SURROGATE}"),
        ("anything", "surrogates", f"held set `anything`: {SURROGATE}"),
        ("text", "subclass", "held set `text`: expected `str`, got `Loud`"),
        ("text", "mute", "held set `text`: expected `str`, got `Mute`"),
        ("anything", "mute", "held set `anything`: Encoding objects of type Mute is unsupported"),
        ("real", "nan", "held set `real`: expected a finite `float`, got NaN, infinity or a larger number"),
        ("real", "infinity", "held set `real`: expected a finite `float`, got NaN, infinity or a larger number"),
        ("real", "decimal", "held set `real`: expected `float`, got `Decimal` -0"),
        ("amount", "decimal nan", "held set `amount`: expected a finite `Decimal` of at most 1,000 digits"),
        ("amount", "decimal huge", "held set `amount`: expected a finite `Decimal` of at most 1,000 digits"),
        ("amount", "decimal long", "held set `amount`: expected a finite `Decimal` of at most 1,000 digits"),
        ("at", "naive", "held set `at`: expected a `datetime` with a zone, between the years 1 and 9999 in UTC"),
        ("at", "zoneless", "held set `at`: expected a `datetime` with a zone, between the years 1 and 9999 in UTC"),
        ("at", "edge", "held set `at`: expected a `datetime` with a zone, between the years 1 and 9999 in UTC"),
        (
            "day",
            "datetime for date",
            "held set `day`: expected `date | None`, got `datetime` 2026-01-01 00:00:00+00:00",
        ),
        ("names", "set", "held set `names`: expected a list, got a set, which has no stable order"),
        ("anything", "nested set", "held set `anything`: expected a list, got a set, which has no stable order"),
        ("reals", "nan inside", "held set `reals`: expected a finite number, got nan"),
        ("anything", "nan inside", "held set `anything`: expected a finite number, got nan"),
        ("anything", "cyclic", "held set `anything`: nested too deeply"),
        ("anything", "odd keys", "held set `anything`: Only dicts with str-like or number-like keys are supported"),
        ("text", "raise silent", "held raised Silent (test_handlers.py:"),
    ],
)
def test_what_state_could_not_bring_back_is_refused(field, value, reason):
    changes = fold_values(Holder, [step(value, to=field), step()])

    [said] = reasons(changes)
    assert said.startswith(reason), said
    assert columns(changes) == columns(fold_values(Holder, [step()]))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("amount", "decimal", "0"),
        ("at", "zoned", "2025-12-31 22:00:00+00:00"),
        ("names", "tuple", '["a","b"]'),
        ("anything", "tuple", '["a","b"]'),
        ("anything", "struct", '{"name":"a","tags":["b"]}'),
        ("anything", "zoned", '"2025-12-31T22:00:00Z"'),
        ("parts", "struct in order", '[{"name":"a","tags":[]}]'),
    ],
)
def test_what_state_would_bring_back_in_another_form_has_that_form_at_once(field, value, expected):
    [row] = columns(fold_values(Holder, [step(value, to=field)]))

    names = [name for name in Holder.__struct_fields__ if not name.startswith("_")]
    assert str(row[names.index(field)]) == expected


# However a handler is written, what it does is seen: it is undone when it fails, and checked when it does not.


def meddle(row: Any) -> None:
    row.hidden.append("meddled")


def logged(function: Any) -> Any:
    """Decorate with a wrapper that does more than what it wraps."""

    @functools.wraps(function)
    def wrapper(self: Any, event: Step) -> None:
        self.hidden.append("logged")
        function(self, event)

    return wrapper


def plainly_logged(function: Any) -> Any:
    def wrapper(self: Any, event: Any) -> None:
        self.hidden.append("logged")
        function(self, event)

    return wrapper


# On one line, so that the lambda's source is that of the function around it.
def make(row, other): return lambda self, event: (self.hidden.append("a"), self.fail(event))  # fmt: skip


class Written:
    """Ways to write a handler that changes `hidden` and then raises if the event says so."""

    def aliased(self, event):
        row = self
        row.hidden.append("a")
        self.fail(event)

    def walrus(self, event):
        (row := self).hidden.append("a")  # noqa: F841 - the point
        self.fail(event)

    def star(self, event):
        first, *_ = self, self
        first.hidden.append("a")
        self.fail(event)

    def in_function(self, event):
        def inner():
            self.hidden = ["inner"]

        inner()
        if event.do == "raise":
            raise ValueError

    def in_lambda(self, event):
        add = lambda: self.hidden.append("a")  # noqa: E731 - the point
        add()
        if event.do == "raise":
            raise ValueError

    def in_comprehension(self, event):
        [self.hidden.append(name) for name in "ab"]
        if event.do == "raise":
            raise ValueError

    def matched(self, event):
        match self:
            case object(hidden=hidden):
                hidden.append("a")
        if event.do == "raise":
            raise ValueError

    def by_getattr(self, event):
        getattr(self, "hidden").append("a")  # noqa: B009 - the point
        if event.do == "raise":
            raise ValueError

    def by_method(self, event):
        self.helper()
        if event.do == "raise":
            raise ValueError

    def by_bound_method(self, event):
        helper = self.helper
        helper()
        if event.do == "raise":
            raise ValueError

    def by_property(self, event):
        self.alias.append("a")
        if event.do == "raise":
            raise ValueError

    def by_property_setter(self, event):
        self.alias = ["set"]
        if event.do == "raise":
            raise ValueError

    def by_locals(self, event):
        locals()["self"].hidden.append("a")
        if event.do == "raise":
            raise ValueError

    def by_exec(self, event):
        exec("self.hidden.append('a')")  # noqa: S102 - the point
        if event.do == "raise":
            raise ValueError

    def handed_on(self, event):
        meddle(self)
        if event.do == "raise":
            raise ValueError

    def positional_only(self, event, /):
        self.hidden.append("a")
        if event.do == "raise":
            raise ValueError

    def half_positional(self, /, event):
        self.hidden.append("a")
        if event.do == "raise":
            raise ValueError

    def other_names(row, happened):  # noqa: N805 - the point
        row.hidden.append("a")
        if happened.do == "raise":
            raise ValueError

    def variadic(*arguments):
        arguments[0].hidden.append("a")
        if arguments[1].do == "raise":
            raise ValueError

    def deep_attribute(self, event):
        self.part.name = "a"
        self.part.tags += ["a"]
        self.counts["a"] = 1
        del self.counts["gone"]
        if event.do == "raise":
            raise ValueError

    def alias_of_field(self, event):
        tags, counts = self.part.tags, self.counts
        tags.append("a")
        counts.update(b=2)
        if event.do == "raise":
            raise ValueError

    def quiet(self, event):
        if event.do == "raise":
            raise ValueError

    decorated = logged(quiet)
    plainly_decorated = plainly_logged(lambda self, event: self.fail(event))
    by_lambda = lambda self, event: (self.hidden.append("a"), self.fail(event))  # noqa: E731
    lambda_of_function = make(None, None)


WAYS = {name: function for name, function in vars(Written).items() if callable(function)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_handler_is_undone_however_it_is_written(way, position):
    function = WAYS[way]

    class Way(View, key="k"):
        events: int = count(Step)
        hidden: list[str] = []  # noqa: RUF012
        part: Part = Part()
        counts: dict[str, int] = {"gone": 0}  # noqa: RUF012

        handler = on(Step)(function)

        def helper(self):
            self.hidden.append("a")

        def fail(self, event):
            if event.do == "raise":
                raise ValueError

        @property
        def alias(self):
            return self.hidden

        @alias.setter
        def alias(self, value):
            self.hidden = value

        @on(Other)
        def restore(self, event: Other) -> None:
            self.counts["gone"] = 0

    good, bad, other = step(), step("raise"), wire("Other", k="x")
    values = [other, good, other, good]
    values.insert(2 * position, bad)

    changes = fold_values(Way, values)
    expected = fold_values(Way, [value if value != bad else b'{"type":"Nobody"}' for value in values])

    assert len(changes.dead_letters) == 1
    assert changes.rows == expected.rows
    assert way == "quiet" or changes.rows[0].columns[2:] != ("[]", '{"name":"","tags":[]}', '{"gone":0}')


def test_a_fold_s_list_may_be_read_but_not_changed():
    """Its source says that the handler only looks at it; what it does, it says not."""

    class Reader(View, key="k"):
        last: list[str] | None = latest(Step.items)
        lengths: list[int] = []  # noqa: RUF012

        @on(Step)
        def step(self, event: Step) -> None:
            self.lengths.append(len(self.last))
            if event.do == "change":
                self.last.append("mine")

        @on(Other)
        def other(self, event: Other) -> None:
            self.last.extend(event.items)

    values = [step(items=["a"]), step("change", items=["b", "c"]), wire("Other", k="x", items=["d"])]

    changes = fold_values(Reader, [*values, wire("Other", k="x")])

    assert columns(changes) == [("x", '["a"]', "[1]")]
    assert reasons(changes) == [
        f"{name} set `last`: expected it to be left alone, since it is a fold" for name in ("step", "other")
    ]


def test_handlers_of_one_function_name_are_told_apart():
    """Two wrappers of one decorator have one name; so have all lambdas."""

    class Both(View, key="k"):
        calls: list[str] = []  # noqa: RUF012
        one = on(Step)(plainly(lambda row: row.calls.append("one")))
        other = on(Other)(plainly(lambda row: row.calls.append("other")))

    changes = fold_values(Both, [step(), wire("Other", k="x")])

    assert columns(changes) == [("x", '["one","other"]')]


def plainly(function: Callable[[Any], object]) -> Any:
    def wrapper(self: Any, event: Any) -> None:
        function(self)

    return wrapper


def test_a_handler_reads_class_variables_and_calls_functions():
    class Limited(View, key="k"):
        LIMIT: ClassVar[int] = 2
        over: int = 0

        @on(Step)
        def step(self, event: Step) -> None:
            self.over += max(0, event.n - self.LIMIT)

    assert columns(fold_values(Limited, [step(n=5), step(n=1)])) == [("x", 3)]


def test_a_handler_sees_folds_with_its_event_folded():
    class Seen(View, key="k"):
        events: int = count(Step)
        seen: list[int] = []  # noqa: RUF012

        @on(Step)
        def step(self, event: Step) -> None:
            self.seen.append(self.events)

    assert columns(fold_values(Seen, [step(), step()])) == [("x", 2, "[1,2]")]


def test_times_inside_an_event_are_in_utc():
    """Whatever the producer's zone: a handler might look at it."""

    class Planned(Event):
        k: str
        stops: list[datetime]

    class Plan(View, key="k"):
        stops: str = ""

        @on(Planned)
        def planned(self, event: Planned) -> None:
            self.stops = " ".join(stop.isoformat() for stop in [event.timestamp, *event.stops])

    plan = wire("Planned", k="x", timestamp="2026-03-01T12:00:00-01:00", stops=["2026-03-01T12:00:00+02:00"])

    assert columns(fold_values(Plan, [plan])) == [("x", "2026-03-01T13:00:00+00:00 2026-03-01T10:00:00+00:00")]


def test_only_what_a_handler_reads_is_decoded():
    """What a view does not use cannot set an event aside."""

    class Names(View, key="k"):
        names: int = 0

        @on(Step)
        def step(self, event: Step) -> None:
            self.names += len(event.items)

    changes = fold_values(Names, [step(n="seven", items=["a"]), step(items="b")])

    assert (columns(changes), reasons(changes)) == ([("x", 1)], ["Step: Expected `array`, got `str` - at `$.items`"])


def test_the_reason_names_the_user_s_line():
    def helper() -> None:
        raise LookupError("nothing there")  # line A

    class Failing(View, key="k"):
        n: int = 0

        @on(Step)
        def step(self, event: Step) -> None:
            self.n += 1
            int("x") if event.do == "library" else helper()

    import linecache  # noqa: PLC0415

    lines = linecache.getlines(__file__)
    line = next(number for number, text in enumerate(lines, 1) if "# line A" in text)
    changes = fold_values(Failing, [step(), step("library")])

    assert reasons(changes)[0] == f"step raised LookupError: nothing there (test_handlers.py:{line})"
    assert reasons(changes)[1].startswith("step raised ValueError: invalid literal for int() with base 10: 'x' (test_")


def test_a_handler_that_recurses_for_ever_has_one_reason():
    """However deep the stack was when it began."""

    def forever(depth: int) -> int:
        return forever(depth + 1) + 1 if depth % 2 else forever(depth + 1)

    class Failing(View, key="k"):
        n: int = 0

        @on(Step)
        def step(self, event: Step) -> None:
            self.n += forever(event.n)

    def at_depth(depth: int) -> list[str]:
        return at_depth(depth - 1) if depth else reasons(fold_values(Failing, [step()]))

    [reason] = at_depth(0)
    assert reason.startswith("step raised RecursionError (test_handlers.py:")
    assert [at_depth(depth) for depth in (1, 2, 3, 50)] == [[reason]] * 4


def test_a_reason_is_the_same_in_every_run_and_can_be_stored():
    class Failing(View, key="k"):
        n: int = 0

        @on(Step)
        def step(self, event: Step) -> None:
            self.n += 1
            raise ValueError(f"{object()} \ud800 \0 \n {'x' * 1_000}")

    [reason] = reasons(fold_values(Failing, [step()]))

    assert reason.startswith("step raised ValueError: <object object> \\ud800 \\x00 \\n xxx")
    assert len(reason) == 500


@pytest.mark.parametrize("change", ["setcontext", "precision", "traps"])
def test_a_handler_that_changes_how_later_events_are_computed_is_refused(change):
    """What it changes would hold until the end of the batch, and batches may be cut anywhere."""

    class Precise(View, key="k"):
        n: int = 0

        @on(Step)
        def step(self, event: Step) -> None:
            self.n += 1
            if event.do == "setcontext":
                decimal.setcontext(decimal.Context(prec=5))
            elif event.do == "precision":
                decimal.getcontext().prec = 5
            elif event.do == "traps":
                decimal.getcontext().traps[decimal.Inexact] = True

    with refused(
        "view Precise: a handler or an upcaster has changed the decimal context", "localcontext", line="class"
    ):
        fold_values(Precise, [step(change)])


def test_a_handler_may_compute_with_more_digits_for_itself():
    class Precise(View, key="k"):
        third: Decimal = Decimal(0)

        @on(Step)
        def step(self, event: Step) -> None:
            with decimal.localcontext() as context:
                context.prec = 40
                self.third = event.price / 3

    [(_, third)] = columns(fold_values(Precise, [step(price="1")]))

    assert str(third) == "0." + "3" * 40


def test_an_interrupt_stops_the_fold_and_leaves_the_row_whole():
    """A signal is no fault of the record."""

    class Stopping(View, key="k"):
        events: int = count(Step)
        names: list[str] = []  # noqa: RUF012

        @on(Step)
        def step(self, event: Step) -> None:
            self.names.append("a")
            if event.do == "stop":
                raise KeyboardInterrupt

    kernel = new_kernel(Stopping)
    with pytest.raises(KeyboardInterrupt):
        kernel.fold(batch([(b"x", step()), (b"x", step("stop"))]))

    assert (kernel.row(b"x").events, kernel.row(b"x").names) == (1, ["a"])
