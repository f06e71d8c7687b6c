"""What may not be in a view's code: the examples are the functions of this file."""

from __future__ import annotations

import asyncio
import datetime as calendar
import io
import itertools
import json
import logging
import os
import pathlib
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, timedelta
from datetime import datetime as dt
from decimal import Decimal
from pathlib import Path
from random import choice as pick
from typing import Any

import pytest

from kappa.model.determinism import Finding, find_assignments, find_nondeterminism

HERE = Path(__file__).parent
LOG = logging.getLogger(__name__)
GENERATOR = random.Random(7)
NUMBERS = itertools.count()
SEEN: dict[str, int] = {}
TOTALS: dict[str, list[int]] = {"": []}
CODES = frozenset({"a", "b"})
RATES = {"EUR": Decimal(1)}
UTCNOW = dt.utcnow


def findings(function: Callable[..., Any], owner: type | None = None) -> list[Finding]:
    return find_nondeterminism([function], HERE, owner=owner)


def complaints(function: Callable[..., Any]) -> list[str]:
    return [finding.what for finding in findings(function)]


def open(name: str) -> str:
    return name


class Clock:
    """Not a clock of the machine."""

    def now(self) -> int:
        return 0


def test_a_finding_names_the_place_the_function_and_the_remedy() -> None:
    def handler(row: Any, event: Any) -> None:
        row.at = dt.now(UTC)

    assert findings(handler) == [
        Finding(
            file=__file__,
            line=handler.__code__.co_firstlineno + 1,
            function=f"test_determinism.{handler.__qualname__}",
            what="reads the clock: dt.now",
            remedy="use event.timestamp: a replay must see the time of the event, not its own",
        )
    ]


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda: dt.now(UTC), "reads the clock: dt.now"),
        (lambda: calendar.datetime.now(UTC), "reads the clock: calendar.datetime.now"),
        (lambda: UTCNOW(), "reads the clock: UTCNOW"),
        (lambda: dt.today(), "reads the clock: dt.today"),
        (lambda: date.today(), "reads the clock: date.today"),
        (lambda: time.time(), "reads the clock: time.time"),
        (lambda: time.monotonic_ns(), "reads the clock: time.monotonic_ns"),
        (lambda: dt.fromtimestamp(1), "uses the time zone of the machine: dt.fromtimestamp(1)"),
        (lambda at: at.astimezone(), "uses the time zone of the machine: at.astimezone()"),
        (lambda: random.random(), "is random: random.random"),
        (lambda: pick([1, 2]), "is random: pick"),
        (lambda: GENERATOR.random(), "is random: GENERATOR.random"),
        (lambda: uuid.uuid4().hex, "is random: uuid.uuid4"),
        (lambda: os.urandom(4), "is random: os.urandom"),
        (lambda event: hash(event.name), "differs from one process to the next: hash"),
        (lambda event: id(event), "differs from one process to the next: id"),
        (lambda: os.environ["HOME"], "reads the machine's environment: os.environ"),
        (lambda: os.environ.get("HOME"), "reads the machine's environment: os.environ"),
        (lambda: os.getpid(), "reads the machine's environment: os.getpid"),
        (lambda: sys.argv[1], "reads the machine's environment: sys.argv"),
        (lambda: io.open("rates.csv"), "does input or output: io.open"),
        (lambda: input(), "does input or output: input"),
        (lambda: pathlib.Path("rates.csv").read_text(), "does input or output: pathlib.Path"),
        (lambda: HERE.read_text(), "does input or output: HERE.read_text"),
        (lambda: os.path.exists("rates.csv"), "does input or output: os.path.exists"),
        (lambda: socket.create_connection(("", 1)), "does input or output: socket.create_connection"),
        (lambda: subprocess.run(["date"]), "does input or output: subprocess.run"),
        (lambda: sqlite3.connect(":memory:"), "does input or output: sqlite3.connect"),
        (lambda: sys.stdin.read(), "does input or output: sys.stdin"),
        (lambda: threading.Lock(), "starts work beside the fold: threading.Lock"),
        (lambda: asyncio.run(None), "starts work beside the fold: asyncio.run"),
    ],
)
def test_what_depends_on_more_than_the_event_is_found(function: Callable[..., Any], what: str) -> None:
    assert complaints(function) == [what]


def test_a_module_imported_inside_the_function_is_recognised() -> None:
    def handler(row: Any, event: Any) -> None:
        import random as chance
        from time import time as seconds

        row.value = chance.random() + seconds()

    assert complaints(handler) == ["is random: chance.random", "reads the clock: seconds"]


def test_a_function_that_is_handed_on_is_found_without_a_call() -> None:
    def handler(row: Any, event: Any) -> None:
        row.ids = list(map(hash, event.names))

    assert complaints(handler) == ["differs from one process to the next: hash"]


def test_users_own_functions_arguments_and_attributes_of_the_same_name_are_left_alone() -> None:
    def handler(row: Any, event: Any, id: str, time: Any) -> None:
        row.a = open(event.name)
        row.b = Clock().now()
        row.c = event.datetime.now()
        row.d = id + time.time()
        row.id = event.random.random()

    assert complaints(handler) == []


def test_deterministic_uses_of_the_same_modules_are_left_alone() -> None:
    def handler(row: Any, event: calendar.datetime) -> None:
        row.a = dt.fromisoformat("2026-01-01") + timedelta(days=1)
        row.b = dt.fromtimestamp(0, tz=UTC).astimezone(UTC)
        row.c = os.path.join("a", "b") + pathlib.PurePath("a/b").name
        row.d = uuid.uuid5(uuid.NAMESPACE_URL, "a")
        row.e = io.StringIO().getvalue() + json.dumps({})
        row.f = time.strptime("2026", "%Y")
        row.g = event.isoformat()

    assert complaints(handler) == []


def test_annotations_are_not_uses() -> None:
    def handler(row: Any, event: Any, path: pathlib.Path | None = None) -> threading.Lock | None:
        found: random.Random | None = None
        return found

    assert complaints(handler) == []


def stamp() -> calendar.datetime:
    return dt.now(UTC)


def stamped(value: Any) -> tuple[Any, Any]:
    return value, stamp()


def test_a_helper_of_a_helper_is_searched_and_named() -> None:
    def handler(row: Any, event: Any) -> None:
        row.value = stamped(event.value)

    (found,) = findings(handler)

    assert (found.function, found.line) == ("test_determinism.stamp", stamp.__code__.co_firstlineno + 1)


class Profile:
    def handler(self, event: Any) -> None:
        self.touch()

    def touch(self) -> None:
        self.at = dt.now(UTC)

    def unused(self) -> None:
        self.at = dt.now(UTC)


def test_methods_that_a_handler_calls_are_searched_and_others_are_not() -> None:
    assert [found.function for found in findings(Profile.handler, owner=Profile)] == ["test_determinism.Profile.touch"]


def test_printing_and_logging_are_warnings() -> None:
    def handler(row: Any, event: Any) -> None:
        print(event)
        LOG.info("seen")

    assert [(found.what, found.severity) for found in findings(handler)] == [
        ("prints: print", "warning"),
        ("prints: LOG.info", "warning"),
    ]


def remembering(event: Any, seen: list[str] = []) -> None:
    seen.append(event.name)


class Statistics:
    count = 0

    def add(self) -> None:
        self.count += 1

    def seen(self) -> bool:
        return self.count > 0


STATISTICS = Statistics()


def test_state_outside_the_row_is_found() -> None:
    total = 0
    names: list[str] = []

    def handler(row: Any, event: Any) -> None:
        global UTCNOW
        nonlocal total
        SEEN[event.name] = 1
        del SEEN[event.name]
        SEEN.setdefault(event.name, 0)
        TOTALS[""].append(1)
        TOTALS[event.name][0] += 1
        names.append(event.name)
        Statistics.count = 1
        STATISTICS.count += 1
        STATISTICS.add()
        row.number = next(NUMBERS)
        remembering(event)

    assert complaints(handler) == [
        "changes what outlives the row: seen.append(event.name)",
        "assigns to names of the module: UTCNOW",
        "assigns to names around it: total",
        *(
            f"changes what outlives the row: {text}"
            for text in (
                "SEEN[event.name]",
                "SEEN[event.name]",
                "SEEN.setdefault(event.name, 0)",
                "TOTALS[''].append(1)",
                "TOTALS[event.name][0]",
                "names.append(event.name)",
                "Statistics.count",
                "STATISTICS.count",
                "STATISTICS.add()",
                "next(NUMBERS)",
            )
        ),
    ]
    assert total == 0


def test_state_of_the_row_and_local_state_are_left_alone() -> None:
    class Cart:
        items: list[str] = []
        counts: Counter[str] = Counter()

        def handler(self, event: Any) -> None:
            self.items.append(event.item)
            self.counts[event.item] += 1
            by_kind = defaultdict(list)
            by_kind[event.kind].append(event.item)
            total = 0

            def add(amount: int) -> None:
                nonlocal total
                total += amount

            add(event.amount)
            event.names.sort()
            self.total = total * RATES["EUR"] + RATES.get(event.currency, 1) + STATISTICS.seen()

    assert findings(Cart.handler, owner=Cart) == []


@pytest.mark.parametrize(
    ("function", "expression"),
    [
        (lambda: [code for code in {"a", "b"}], "{'a', 'b'}"),
        (lambda names: list(set(names)), "set(names)"),
        (lambda names: ",".join(set(names)), "set(names)"),
        (lambda names: {name: 1 for name in set(names) | {"a"}}, "set(names) | {'a'}"),
        (lambda: tuple(CODES), "CODES"),
        (lambda names: CODES.intersection(names).pop(), "CODES.intersection(names)"),
        (lambda names: [*CODES, *names], "CODES"),
        (lambda: next(iter(CODES)), "CODES"),
        (lambda: list(code for code in CODES), "CODES"),
    ],
)
def test_the_order_of_a_set_must_not_reach_a_result(function: Callable[..., Any], expression: str) -> None:
    assert complaints(function) == [f"depends on the order of a set: {expression}"]


def test_a_loop_over_a_variable_that_holds_a_set_is_found() -> None:
    def handler(row: Any, event: Any) -> None:
        names = set(event.names)
        for name in names:
            row.names.append(name)

    assert [found.remedy for found in findings(handler)] == ["give it an order: sorted(names)"]


def test_sets_without_order_in_the_result_are_left_alone() -> None:
    def handler(row: Any, event: Any) -> None:
        names = set(event.names)
        names = sorted(names)
        for name in names:
            row.names.append(name)
        row.a = sorted(list(CODES)) + sorted(code.upper() for code in CODES)
        row.b = max({1, 2}), len(CODES), "a" in CODES, any(code for code in CODES)
        row.c = {code.upper() for code in CODES} == CODES
        row.d = ",".join(row.names)
        row.e = row.names.pop()

    assert complaints(handler) == []


def test_asynchronous_handlers_and_generators_are_found() -> None:
    async def waiting(row: Any, event: Any) -> None:
        row.total = await event.amount()

    def yielding(row: Any, event: Any) -> Iterator[int]:
        yield event.amount

    def calling(row: Any, event: Any) -> None:
        row.total = sum(yielding(row, event))

    assert complaints(waiting) == ["is asynchronous, so calling it runs nothing"]
    assert complaints(yielding) == ["is a generator, so calling it runs nothing"]
    assert complaints(calling) == []


def test_code_without_source_has_no_findings() -> None:
    namespace: dict[str, Any] = {"time": time}
    exec("def handler(row, event): row.at = time.time()", namespace)

    assert find_nondeterminism([namespace["handler"], print], HERE) == []


class Cart:
    def handler(self, event: Any) -> None:
        self.total += 1
        self.other, self.total = 1, event.amount
        for self.total in event.amounts:
            del self.total
        setattr(self, "total", 0)
        setattr(self, event.field, event.value)
        event.total = self.total

    def reading(self, event: Any) -> None:
        self.other = self.total


def test_every_assignment_to_a_fold_is_found() -> None:
    first = Cart.handler.__code__.co_firstlineno

    found = find_assignments(Cart.handler, {"total"})

    assert [place.line - first for place in found] == [1, 2, 3, 4, 5]
    assert {(place.function, place.what, place.remedy) for place in found} == {
        (
            f"{__name__}.Cart.handler",
            "assigns to self.total, which a declared fold computes",
            "remove it, or declare total without a fold",
        )
    }


def test_reading_a_fold_and_assigning_to_other_fields_is_left_alone() -> None:
    assert find_assignments(Cart.reading, {"total"}) == []
    assert find_assignments(print, {"total"}) == []
