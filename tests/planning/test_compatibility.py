"""Which changes of an event type can be read, and by whom."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa import Event
from kappa.model.event_schema import event_schema
from kappa.planning import compatibility
from kappa.planning.compatibility import Compatibility, Registered, judge, unreadable

DOCS = Path(__file__).parents[2] / "docs" / "schemas.md"

TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}


def record(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (record(a=TEXT), record(a=TEXT, b=TEXT)),
        (record("a b", a=TEXT, b=TEXT), record("a", a=TEXT)),
        (record("a", a=WHOLE), record("a", a=NUMBER)),
        (record(a=TEXT), record(a={"anyOf": [TEXT, {"type": "null"}]})),
        (record(a={"enum": ["x", "y"]}), record(a={"enum": ["x", "y", "z"]})),
        (record(a={"enum": ["x", "y"]}), record(a=TEXT)),
        (record(a={"const": "x"}), record(a={"enum": ["y", "x"]})),
        (record(a=WHOLE | {"minimum": 1}), record(a=WHOLE)),
        (record(a=WHOLE | {"minimum": 1}), record(a=WHOLE | {"minimum": 0})),
        (record(a=TEXT | {"description": "old"}), record(a=TEXT | {"description": "new", "default": ""})),
        (record(a=TEXT | {"format": "date-time"}), record(a=TEXT)),
        (record(a={"type": "array", "items": WHOLE}), record(a={"type": "array", "items": NUMBER})),
        (record(a=TEXT), record(a=True)),
        (record(a=record("b", b=TEXT)), record(a={"type": "object", "additionalProperties": TEXT})),
    ],
)
def test_what_was_written_before_can_be_read(before: Any, after: Any) -> None:
    assert unreadable(after, before) == ()


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (record(a=TEXT), record("a", a=TEXT), "a: is required, and was not (required-added)"),
        (record(), record("a", a=TEXT), "a: is required, and was not (required-added)"),
        (record(a=NUMBER), record(a=WHOLE), "a: was number, and may only be integer (type-narrowed)"),
        (record(a=True), record(a=TEXT), "a: was anything, and may only be string (type-narrowed)"),
        (
            record(a={"anyOf": [TEXT, {"type": "null"}]}),
            record(a=TEXT),
            "a: was null, and may only be string (type-narrowed)",
        ),
        (
            record(a=NUMBER),
            record(a={"anyOf": [TEXT, {"type": "null"}]}),
            "a: was number, and may only be string or null (type-narrowed)",
        ),
        (record(a={"enum": ["x", "y"]}), record(a={"enum": ["x"]}), 'a: may not be "y" any more (values-narrowed)'),
        (record(a=TEXT), record(a={"enum": ["x"]}), 'a: was string, and may only be "x" (values-narrowed)'),
        (record(a=WHOLE), record(a=WHOLE | {"minimum": 1}), "a: has minimum 1, which had none (limit-narrowed)"),
        (
            record(a=TEXT | {"maxLength": 9}),
            record(a=TEXT | {"maxLength": 8}),
            "a: has maxLength 8, which was 9 (limit-narrowed)",
        ),
        (
            record(a=TEXT),
            record(a=TEXT | {"format": "date"}),
            "a: has format date, which had none (limit-narrowed)",
        ),
        (
            record(a={"type": "array", "items": record(b=NUMBER)}),
            record(a={"type": "array", "items": record(b=WHOLE)}),
            "a[].b: was number, and may only be integer (type-narrowed)",
        ),
        (
            record(a=TEXT, b=TEXT),
            record(a=TEXT) | {"additionalProperties": False},
            "b: is not allowed any more, and was (field-forbidden)",
        ),
        (
            record(a={"type": "object", "additionalProperties": NUMBER}),
            record(a={"type": "object", "additionalProperties": WHOLE}),
            "a.*: was number, and may only be integer (type-narrowed)",
        ),
        (record(a=TEXT), record(a=TEXT | {"odd": 1}), "a: has odd 1, which had none (limit-narrowed)"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_field_and_rule(before: Any, after: Any, reason: str) -> None:
    assert [str(why) for why in unreadable(after, before)] == [reason]


def test_a_definition_that_holds_itself_is_compared_once() -> None:
    def tree(label: Any) -> dict[str, Any]:
        node = {"$ref": "#/$defs/Node"}
        return record(root=node) | {"$defs": {"Node": record(label=label, children={"type": "array", "items": node})}}

    assert unreadable(tree(NUMBER), tree(WHOLE)) == ()
    assert [why.field for why in unreadable(tree(WHOLE), tree(NUMBER))] == ["root.label"]


_LEAVES = st.sampled_from(
    [
        TEXT,
        NUMBER,
        WHOLE,
        {"type": "null"},
        {"type": "boolean"},
        {"enum": ["x", 1]},
        {"const": "x"},
        {"enum": [True, 0]},
        WHOLE | {"minimum": 1},
        NUMBER | {"maximum": 1},
        TEXT | {"minLength": 1},
    ]
)
_FIELDS = st.lists(st.sampled_from("ab"), unique=True)


def _records(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(st.sampled_from("ab"), inner)
    return st.builds(lambda fields, required: record(" ".join(required), **fields), named, _FIELDS)


_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: (
        _records(inner)
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda *each: {"anyOf": list(each)}, inner, inner)
    ),
    max_leaves=5,
)
_VALUES = st.recursive(
    st.sampled_from(["x", "", "y", 0, 1, 2, 1.5, -1, True, None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


def _named_only(value: Any, schema: Any) -> bool:
    """Say whether a value keeps the assumption: it has no field that its schema does not name."""
    closed = msgspec.json.decode(
        msgspec.json.encode(schema).replace(b'"type":"object"', b'"type":"object","additionalProperties":false')
    )
    return jsonschema.Draft202012Validator(closed).is_valid(value)


@given(_SCHEMAS, _SCHEMAS, _VALUES)
def test_a_value_that_is_valid_before_is_valid_after_a_compatible_change(before: Any, after: Any, value: Any) -> None:
    """An independent validator judges."""
    if not unreadable(after, before) and _named_only(value, before):
        jsonschema.Draft202012Validator(after).validate(value)


@given(_SCHEMAS)
def test_a_schema_reads_what_was_written_under_itself(schema: Any) -> None:
    assert unreadable(schema, schema) == ()


class OrderPlaced(Event, version=2):
    user_id: str
    amount: Decimal
    channel: Literal["web", "shop"] = "web"

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "amount": old["cents"]}


NEW = event_schema(OrderPlaced)
FIRST = Registered(1, record("user_id cents", user_id=TEXT, cents=WHOLE))
SECOND = Registered(2, record("user_id", user_id=TEXT, _schema_version={"const": 2}))


def test_a_newer_version_reads_older_ones_by_its_upcasters() -> None:
    evolution = judge(NEW, [FIRST], Compatibility.BACKWARD)

    assert (evolution.version, evolution.upcast_from, evolution.broken) == (2, (1,), ())


def test_within_a_version_no_upcaster_helps() -> None:
    evolution = judge(NEW, [FIRST, SECOND], Compatibility.BACKWARD)

    assert {(each.number, each.why.field, each.why.rule) for each in evolution.broken} == {
        (2, name, "required-added") for name in ("_schema_version", "amount", "timestamp", "type")
    }


def test_code_that_is_older_than_what_is_registered_is_incompatible() -> None:
    third = Registered(3, record(_schema_version={"const": 3}))

    (broken,) = judge(NEW, [third], Compatibility.BACKWARD).broken

    assert str(broken.why) == "_schema_version: version 3 is registered, and this code reads up to 2 (version-lowered)"


def test_code_of_an_older_version_cannot_read_forward() -> None:
    (broken,) = judge(NEW, [FIRST], Compatibility.FORWARD).broken

    assert (broken.direction, broken.why.rule) == (Compatibility.FORWARD, "version-raised")


class Billed(Event, version=3, readable_from=2):
    user_id: str
    cents: int
    currency: str

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "cents": old["amount"]}

    @classmethod
    def upcast_2(cls, old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "currency": "EUR"}


BILLED = event_schema(Billed)


def test_code_that_a_newer_version_is_readable_from_is_compatible_forward() -> None:
    before = record("cents _schema_version", cents=WHOLE, _schema_version={"const": 2})

    assert judge(BILLED, [Registered(1, before)], Compatibility.FULL).broken == ()


@pytest.mark.parametrize("level", [Compatibility.BACKWARD, Compatibility.FORWARD, Compatibility.FULL])
def test_that_a_version_is_readable_from_another_is_held_against_its_schema(level: Compatibility) -> None:
    before = record("cents name", cents=TEXT, name=TEXT, _schema_version={"const": 2})

    broken = judge(BILLED, [Registered(1, before)], level).broken

    assert {(each.direction, each.why.field, each.why.rule) for each in broken} == {
        (Compatibility.FORWARD, "cents", "type-narrowed"),
        (Compatibility.FORWARD, "name", "required-added"),
    }


def test_code_from_before_that_cannot_read_it() -> None:
    (broken,) = judge(BILLED, [FIRST], Compatibility.FULL).broken

    assert broken.why.rule == "version-raised"


def test_to_say_later_that_a_version_is_readable_from_another_changes_no_field() -> None:
    silent = event_schema(Billed)
    del silent["properties"]["_readable_from"]
    silent["required"].remove("_readable_from")

    assert judge(BILLED, [Registered(1, silent)], Compatibility.FULL).broken == ()


def test_nothing_is_asked_where_nothing_must_stay_possible() -> None:
    assert judge(NEW, [SECOND], Compatibility.NONE).broken == ()


def test_every_rule_is_explained() -> None:
    rules = set(re.findall(r'"([a-z]+-[a-z]+)"', Path(compatibility.__file__).read_text()))

    assert rules == set(re.findall(r"^\| `([a-z]+-[a-z]+)` \|", DOCS.read_text(), re.MULTILINE))
