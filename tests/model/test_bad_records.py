"""Records that cannot be folded: each becomes a dead letter with its reason, and costs nothing else."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from model.folding import AT, batch, columns, fold_values, new_kernel, reasons, wire

from kappa import Event, View, count, latest, on, total
from kappa.model.kernel import Kernel
from kappa.model.records import DeadLetter


class Paid(Event, version=3):
    user_id: str
    amount: Decimal
    rate: float = 1.0
    parts: int = 1
    due_at: datetime | None = None

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "amount": Decimal(old["cents"]) / 100}

    @classmethod
    def upcast_2(cls, old: dict[str, Any]) -> dict[str, Any]:
        return old


class Renamed(Event):
    user_id: str
    name: str


class Elsewhere(Event):
    user_id: str


class Customer(View, key="user_id"):
    payments: int = count(Paid)
    paid: Decimal = total(Paid.amount)
    rates: float = total(Paid.rate)
    parts: int = total(Paid.parts)
    due_at: datetime | None = latest(Paid.due_at)
    last_at: datetime | None = latest(Paid.timestamp)
    names: list[str] = []  # noqa: RUF012

    @on(Renamed)
    def renamed(self, event: Renamed) -> None:
        self.names.append(event.name)
        if event.name == "boom":
            raise ValueError("no such name")


EVENTS = [Paid, Renamed, Elsewhere]


def paid(**fields: Any) -> bytes:
    return wire("Paid", **{"user_id": "x", "_schema_version": 3, "amount": "1.50", **fields})


def raw(fields: str) -> bytes:
    """Return a payment whose JSON is written by hand."""
    return f'{{"type":"Paid","_schema_version":3,"user_id":"x","timestamp":"{AT}",{fields}}}'.encode()


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty record"),
    "not JSON": (b"hello", "not JSON: JSON is malformed: invalid character (byte 0)"),
    "truncated": (paid()[:-9], "not JSON: Input data was truncated"),
    "followed by something": (paid() + b"}", "not JSON: JSON is malformed: trailing characters (byte"),
    "two records": (paid() * 2, "not JSON: JSON is malformed: trailing characters (byte"),
    "with a byte order mark": (b"\xef\xbb\xbf" + paid(), "not JSON: JSON is malformed: invalid character (byte 0)"),
    "an array": (b"[1,2]", "expected a JSON object, got list"),
    "a number": (b"5", "expected a JSON object, got int"),
    "null": (b"null", "expected a JSON object, got NoneType"),
    "no type": (b'{"user_id":"x"}', "no event type: expected text in `type`, which is missing"),
    "type null": (b'{"type":null}', "no event type: expected text in `type`, got `NoneType` None"),
    "type number": (b'{"type":5}', "no event type: expected text in `type`, got `int` 5"),
    "type object": (b'{"type":{"a":1}}', "no event type: expected text in `type`, got `dict`"),
    "two types": (
        raw('"type":"Renamed","amount":"1"'),
        "Renamed version 3 is newer than this code, which reads up to 1",
    ),
    "field missing": (raw('"parts":1'), "Paid: Object missing required field `amount`"),
    "time missing": (paid().replace(b"timestamp", b"time"), "Paid: Object missing required field `timestamp`"),
    "wrong type": (paid(parts="1"), "Paid: Expected `int`, got `str` - at `$.parts`"),
    "float for int": (paid(parts=1.0), "Paid: Expected `int`, got `float` - at `$.parts`"),
    "bool for int": (paid(parts=True), "Paid: Expected `int`, got `bool` - at `$.parts`"),
    "null for int": (paid(parts=None), "Paid: Expected `int`, got `null` - at `$.parts`"),
    "text for Decimal": (paid(amount="a lot"), "Paid: Invalid decimal string - at `$.amount`"),
    "NaN": (raw('"amount":NaN'), "not JSON: JSON is malformed: invalid character"),
    "infinity": (raw('"amount":"1","rate":-Infinity'), "not JSON: JSON is malformed: invalid character"),
    "NaN as text": (paid(amount="NaN"), "Paid: expected a finite number in `amount`, got NaN"),
    "infinity as text": (paid(amount="-inf"), "Paid: expected a finite number in `amount`, got -Infinity"),
    "a float too large": (raw('"amount":"1","rate":1e400'), "Paid: Number out of range - at `$.rate`"),
    "65 bits": (paid(parts=2**64), "Paid: Expected `int` <= 9223372036854775807 - at `$.parts`"),
    "minus 65 bits": (paid(parts=-(2**63) - 1), "Paid: Expected `int` >= -9223372036854775808 - at `$.parts`"),
    "a thousand digits": (
        raw(f'"amount":"1","parts":{"9" * 1_000}'),
        "Paid: Expected `int` <= 9223372036854775807 - at `$.parts`",
    ),
    "ten thousand digits": (
        raw(f'"amount":"1","parts":{"9" * 10_000}'),
        "Paid: Integer value out of range - at `$.parts`",
    ),
    "version of ten thousand digits": (
        paid().replace(b"3,", b"9" * 10_000 + b","),
        "JSON that cannot be read: Integer value out of range - at `$[...]`",
    ),
    "a Decimal of millions of digits": (
        paid(amount="1E+999999"),
        "Paid: `paid`: expected a finite `Decimal` of at most 1,000 digits",
    ),
    "a Decimal beyond all range": (
        raw('"amount":1e9999999999999999999'),
        "Paid: Invalid decimal string - at `$.amount`",
    ),
    "invalid UTF-8 in an old version": (
        paid(user="?", _schema_version=2).replace(b"?", b"\xff"),
        "not UTF-8: invalid start byte at byte 0 of a text",
    ),
    "invalid UTF-8 in a field": (
        wire("Renamed", user_id="x", name="?").replace(b"?", b"\xff"),
        "Renamed: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    ),
    "half a surrogate pair": (raw(r'"amount":"\ud800"'), "not JSON: "),
    "time without zone": (
        paid(due_at="2026-03-01T12:00:00"),
        "Paid: Expected `datetime` with a timezone component - at `$.due_at`",
    ),
    "no time at all": (paid(due_at="yesterday"), "Paid: Invalid RFC3339 encoded datetime - at `$.due_at`"),
    "time before all time": (
        paid(due_at="0001-01-01T00:00:00+14:00"),
        "Paid: expected a time between the years 1 and 9999 in UTC in `due_at`, got 0001-01-01T00:00:00+14:00",
    ),
    "time after all time": (
        paid(due_at="9999-12-31T23:59:59-01:00"),
        "Paid: expected a time between the years 1 and 9999 in UTC in `due_at`, got 9999-12-31T23:59:59-01:00",
    ),
    "version unknown": (paid(_schema_version=4), "Paid version 4 is newer than this code, which reads up to 3"),
    "version huge": (
        paid(_schema_version=10**500),
        "Paid version beyond 64 bits is newer than this code, which reads up to 3",
    ),
    "version zero": (paid(_schema_version=0), "Paid: expected a version from 1 in `_schema_version`, got `int` 0"),
    "version null": (
        paid(_schema_version=None),
        "Paid: expected a version from 1 in `_schema_version`, got `NoneType` None",
    ),
    "version text": (paid(_schema_version="3"), "Paid: expected a version from 1 in `_schema_version`, got `str` '3'"),
    "version true": (
        paid(_schema_version=True),
        "Paid: expected a version from 1 in `_schema_version`, got `bool` True",
    ),
    "upcaster raises": (paid(_schema_version=1), "Paid: upcast_1 raised KeyError: 'cents'"),
    "upcaster gives something else": (
        paid(_schema_version=1, cents="many"),
        "Paid: upcast_1 raised InvalidOperation: [<class 'decimal.ConversionSyntax'>]",
    ),
    "wrong after upcasting": (
        paid(_schema_version=2, amount=True),
        "Paid after upcasting from version 2: Expected `decimal`, got `bool` - at `$.amount`",
    ),
    "handler raises": (
        wire("Renamed", user_id="x", name="boom"),
        "renamed raised ValueError: no such name (test_bad_records.py:",
    ),
    "20 MB": (paid(parts="x" * 20_000_000), "Paid: Expected `int`, got `str` - at `$.parts`"),
    "nested 201 deep": (paid(extra=json.loads("[" * 200 + "]" * 200)), "JSON nested more than 200 deep"),
    "nested 100,000 deep": (
        raw(f'"amount":"1","extra":{"[" * 100_000}{"]" * 100_000}'),
        "JSON nested more than 200 deep",
    ),
    "open 100,000 deep": (b'{"a":' * 100_000, "JSON nested more than 200 deep"),
}
GOOD = [
    paid(),
    wire("Renamed", user_id="x", name="a"),
    paid(amount=2.25, rate=0.5, due_at="2026-03-01T12:00:00+02:00"),
    paid(_schema_version=1, cents=250),
    wire("Renamed", user_id="x", name="b\0"),
]
NEUTRAL: dict[str, bytes] = {
    "a type that the view does not fold": wire("Elsewhere", user_id="x"),
    "a type that nobody knows": wire("Unheard", user_id="x"),
    "an unknown type with a field beyond all range": b'{"type":"Unheard","x":1e9999999999999999999}',
    "an unknown type with an odd version": b'{"type":"Unheard","_schema_version":"new"}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_becomes_a_dead_letter_and_the_others_go_on(name):
    bad, reason = BAD[name]

    changes = fold_values(Customer, [*GOOD[:3], bad, *GOOD[3:]])
    without = fold_values(Customer, [*GOOD[:3], NEUTRAL["a type that nobody knows"], *GOOD[3:]])

    [letter] = changes.dead_letters
    assert letter == DeadLetter(0, 3, b"x", bad, letter.reason, 0)
    assert letter.reason.startswith(reason), letter.reason
    assert changes.rows == without.rows
    assert without.dead_letters == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_the_same_dead_letter_wherever_it_stands(name):
    bad, _ = BAD[name]

    [alone] = reasons(fold_values(Customer, [bad]))
    [last] = reasons(fold_values(Customer, [*GOOD, bad]))

    assert alone == last
    assert fold_values(Customer, [bad]).rows == []


def test_all_bad_records_together_cost_no_good_one():
    values = [value for bad, _ in BAD.values() for value in (bad, GOOD[0])]

    changes = fold_values(Customer, values)

    assert [letter.offset for letter in changes.dead_letters] == list(range(0, 2 * len(BAD), 2))
    assert changes.rows[0].columns[1] == len(BAD)


@pytest.mark.parametrize("name", NEUTRAL)
def test_what_concerns_nobody_is_read_past(name):
    changes = fold_values(Customer, [GOOD[0], NEUTRAL[name]])

    assert changes == fold_values(Customer, GOOD[:1])


def test_dead_letters_do_not_depend_on_the_project_s_other_events():
    """A view's rows and dead letters would else change when an event type is added that it does not fold."""
    odd = b'{"type":"Elsewhere","user_id":"\xff","x":1e9999999999999999999,"_schema_version":null}'
    letters = []
    for events in ([Paid, Renamed], EVENTS):
        kernel = new_kernel(Customer, events=events)
        kernel.fold(batch([(b"x", value) for value in (odd, odd[:-1], *NEUTRAL.values(), GOOD[0])]))
        letters.append(kernel.take_changes())

    assert letters[0] == letters[1]
    assert [letter.offset for letter in letters[0].dead_letters] == [1]


def test_the_last_of_two_equal_names_counts_in_every_version():
    old = b'{"type":"Paid","user_id":"x","cents":1,"cents":250,"timestamp":"2026-03-01T12:00:00Z"}'
    new = raw('"amount":"1","amount":"2.5"')

    assert columns(fold_values(Customer, [old]))[0][2] == columns(fold_values(Customer, [new]))[0][2] == Decimal("2.5")


# Keys.


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "the record has no key"),
        (b"\xff", r"expected a key of (user_id: text), got b'\xff'"),
    ],
)
def test_a_record_without_a_readable_key_is_set_aside(key, reason):
    changes = fold_values(Customer, GOOD[:2], key=key)

    assert (changes.rows, reasons(changes)) == ([], [reason, reason])


def test_a_key_of_one_byte_or_none_is_a_key():
    kernel = new_kernel(Customer)
    kernel.fold(batch([(b"x", paid()), (b"", paid()), (b"\0", paid())]))

    assert [row.key for row in kernel.take_changes().rows] == [b"", b"\0", b"x"]


class Sold(Event):
    city: str
    house: int


class Numbered(View, key="house"):
    sales: int = count(Sold)


class Placed(View, key=("city", "house")):
    sales: int = count(Sold)


@pytest.mark.parametrize(
    "key",
    [
        b"", b"seven", b"07", b"+7", b" 7", b"7.0", b"-0", b"\xd9\xa3", b"1_0", b"9223372036854775808", b"9" * 5_000,
        b"-9223372036854775809",
    ],
)  # fmt: skip
def test_a_key_that_is_no_number_of_64_bits_is_set_aside(key):
    changes = fold_values(Numbered, [wire("Sold", city="Rome", house=7)], key=key)

    [reason] = reasons(changes)
    assert reason.startswith(("expected a key of (house: integer), got b'", "expected the canonical key b'"))
    assert changes.rows == []


@pytest.mark.parametrize(
    "key",
    [
        b"", b"Rome", b'["Rome"]', b'["Rome",7,1]', b'["Rome","7"]', b'["Rome", 7]', b'{"city":"Rome"}',
        b'["Rome",null]',
        b'["Rome",9223372036854775808]', b'["Rome",' + b"9" * 5_000 + b"]", b'["\\u0052ome",7]', b'["\\ud800",7]',
        b'["\xff",7]', b"[" * 5_000,
    ],
)  # fmt: skip
def test_a_key_that_is_no_canonical_array_is_set_aside(key):
    changes = fold_values(Placed, [wire("Sold", city="Rome", house=7)], key=key)

    [reason] = reasons(changes)
    assert reason.startswith(
        ("expected a key of (city: text, house: integer), got b'", "expected the canonical key b'")
    )
    assert changes.rows == []


def test_running_out_of_memory_is_no_fault_of_the_record():
    class Large(View, key="user_id"):
        n: int = 0

        @on(Renamed)
        def renamed(self, event: Renamed) -> None:
            self.n += 1
            raise MemoryError

    with pytest.raises(MemoryError):
        fold_values(Large, GOOD[1:2])


def test_an_empty_batch_changes_nothing():
    kernel: Kernel = new_kernel(Customer)
    kernel.fold(batch([]))

    assert kernel.take_changes() == fold_values(Customer, [])
