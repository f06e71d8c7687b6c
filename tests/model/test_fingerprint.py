"""Fingerprints of code, on small modules that each test writes, imports and changes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.model.fingerprint import code_digests, code_fingerprint, combine

SHOP = '''
import enum
import re
from decimal import Decimal

TAX = Decimal("0.19")
RATES = {"EUR": 1, "USD": 2}
CODES = frozenset({"a", "b", "c"})
WORD = re.compile("[a-z]+")


class Kind(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Money:
    """An amount."""

    currency = "EUR"

    def __init__(self, amount):
        self.amount = amount

    def net(self):
        return self.amount / (1 + TAX)


def rate(currency):
    return RATES[currency]


def unused():
    return 1


class Profile:
    def handler(self, event):
        """Fold an order."""
        if event.kind in CODES and WORD.match(event.kind):
            self.total += Money(event.amount).net() * rate(event.currency)
        self.kind = Kind.GOOD if event.amount > 0 else Kind.BAD
        self.text = f"{event.kind}: {event.amount:>10}"
'''


Digests = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> Digests:
    """Import a module from a folder of its own, under a name of its own, and take the digests of `Profile.handler`."""

    def import_and_digest(source: str) -> dict[str, str]:
        root = tmp_path_factory.mktemp("project")
        (root / "shop.py").write_text(source)
        spec = importlib.util.spec_from_file_location(f"bundle_{root.name}", root / "shop.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return code_digests([module.Profile.handler], root, owner=module.Profile)

    return import_and_digest


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_the_digests_name_all_that_the_handler_runs_and_reads(digests: Digests) -> None:
    assert set(digests(SHOP)) == {
        *("shop.Profile.handler", "shop.Money", "shop.Money.__init__", "shop.Money.net", "shop.rate", "shop.Kind"),
        *("shop.CODES", "shop.WORD", "shop.RATES", "shop.Kind.GOOD", "shop.Kind.BAD", "shop.TAX"),
    }


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("RATES[currency]", "RATES[currency] + 1", {"shop.rate"}),
        ('"USD": 2', '"USD": 3', {"shop.RATES"}),
        ('Decimal("0.19")', 'Decimal("0.190")', {"shop.TAX"}),
        ('{"a", "b", "c"}', '{"a", "b", "d"}', {"shop.CODES"}),
        ("[a-z]+", "[a-z]*", {"shop.WORD"}),
        ('BAD = "bad"', 'BAD = "worse"', {"shop.Kind", "shop.Kind.BAD"}),
        ("self.amount / (1", "self.amount * (1", {"shop.Money.net"}),
        ('currency = "EUR"', 'currency = "USD"', {"shop.Money"}),
        ("event.amount > 0", "event.amount >= 0", {"shop.Profile.handler"}),
        (":>10", ":>11", {"shop.Profile.handler"}),
        ("def rate(currency)", "def rate(currency, other=TAX)", {"shop.rate", "shop.rate.other"}),
        ("def unused():\n    return 1", "def unused():\n    return 2", set()),
    ],
)
def test_a_change_is_named(digests: Digests, old: str, new: str, names: set[str]) -> None:
    assert SHOP.count(old) == 1

    assert changed(digests(SHOP), digests(SHOP.replace(old, new))) == names


LINES = SHOP.splitlines()
# Where a line can be put in between: not within a docstring's or another line's block, which this source has not.
GAPS = [number for number, line in enumerate(LINES) if line]


@settings(max_examples=30)  # each imports a module
@given(
    comments=st.dictionaries(st.sampled_from(GAPS), st.sampled_from(["", "# why", "    # indented", "\t"]), max_size=9)
)
def test_comments_and_blank_lines_change_nothing(digests: Digests, comments: dict[int, str]) -> None:
    commented = [f"{comments[number]}\n{line}" if number in comments else line for number, line in enumerate(LINES)]

    assert digests("\n".join(commented)) == digests(SHOP)


def test_layout_docstrings_and_spelling_of_literals_change_nothing(digests: Digests) -> None:
    respelled = (
        SHOP.replace('"""Fold an order."""', '"""Fold\n\n        an order in other words."""')
        .replace('"""An amount."""', "")
        .replace(
            "    return RATES[currency]",
            "    'Return the rate.'\n    pass\n    return (\n        RATES[currency]\n    )",
        )
        .replace('f"{event.kind}: {event.amount:>10}"', "(f'{event.kind}: ' f'{event.amount:>10}')")
        .replace('{"EUR": 1, "USD": 2}', "{'EUR': 0x1, 'USD': int('2')}")
    )

    assert digests(respelled) == digests(SHOP)


def test_every_process_gives_the_same_fingerprint(tmp_path: Path) -> None:
    """The hashes of strings, and with them the order of sets, differ between the two."""
    (tmp_path / "shop.py").write_text(SHOP)
    program = (
        "import shop; from pathlib import Path; from kappa.model.fingerprint import code_fingerprint;"
        "print(code_fingerprint([shop.Profile.handler], Path.cwd(), owner=shop.Profile))"
    )

    def run(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."}
        return subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert run("1") == run("2") != ""


def test_a_function_without_source_still_has_a_fingerprint(tmp_path: Path) -> None:
    def typed_in(source: str) -> str:
        namespace: dict[str, Any] = {}
        exec(source, namespace)  # noqa: S102 - as typed into a REPL
        return code_fingerprint([namespace["handler"]], tmp_path)

    one = typed_in("def handler(row, event): row.total = event.amount in {'a', 'b'}")
    again = typed_in("def handler(row, event): row.total = event.amount in {'a', 'b'}")
    other = typed_in("def handler(row, event): row.total = event.amount in {'a', 'c'}")

    assert one == again != other


@given(st.lists(st.integers() | st.text() | st.decimals() | st.dates(), unique_by=repr, min_size=2, max_size=2))
def test_different_constants_have_different_digests(values: list[Any]) -> None:
    one, other = (code_fingerprint([lambda value=value: value], Path(__file__).parent) for value in values)

    assert one != other


def test_a_value_that_contains_itself_has_a_digest() -> None:
    loop: list[Any] = [1]
    loop.append(loop)

    assert len(code_fingerprint([lambda: loop], Path(__file__).parent)) == 32


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_combined_digests_are_equal_just_when_the_parts_are(one: dict[str, str], other: dict[str, str]) -> None:
    assert combine(dict(reversed(one.items()))) == combine(one)
    assert (combine(one) == combine(other)) == (one == other)
