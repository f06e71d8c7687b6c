"""Every Python block in the documentation of views and the README runs, in order; so do the tests in them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from model.folding import fold_values, reasons, wire

import kappa
from kappa import Event, View, on, total
from kappa.model.folds import FoldKind

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["views.md", "testing-views.md", "migrations.md", "diff.md", "../README.md"]


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Yield (number of the line before it, code) of each Python block."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, found.start(1)), found[1]


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_run(name):
    page = DOCS / name
    names: dict[str, Any] = {"__name__": name}
    for line, code in blocks(page):
        # Compiled as lines of the page, so that errors and the source of handlers are found there.
        exec(compile("\n" * line + code, str(page), "exec", dont_inherit=True), names)  # noqa: S102 - our own documentation
    for test in [value for key, value in names.items() if key.startswith("test_") and inspect.isfunction(value)]:
        test()


def test_every_fold_is_in_the_table():
    page = (DOCS / "views.md").read_text(encoding="utf-8")

    for kind in FoldKind:
        assert re.search(rf"^\|.*`{kind}\(", page, re.MULTILINE), kind


def test_every_public_name_is_explained():
    page = (DOCS / "views.md").read_text(encoding="utf-8")

    assert [name for name in kappa.__all__ if not re.search(rf"\b{name}\b", page)] == []


class OrderPlaced(Event, version=3):
    user_id: str
    amount: Decimal
    quantity: int = 1

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "amount": old["cents"]}

    @classmethod
    def upcast_2(cls, old: dict[str, Any]) -> dict[str, Any]:
        return old


class OrderCancelled(Event):
    user_id: str
    order_id: str


class Orders(View, key="user_id"):
    units: int = total(OrderPlaced.quantity)
    level: int = 0

    @on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> None:
        if event.amount == 7:
            self.level = "high"

    @on(OrderCancelled)
    def cancelled(self, event: OrderCancelled) -> None:
        self.level = -1
        raise ValueError(f"no open order {event.order_id}")


def test_reasons_are_those_that_the_kernel_gives():
    page = (DOCS / "views.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\|[^|]*\| ``(.*?) ?`` \|$", page, re.MULTILINE)
    order = {"_schema_version": 3, "amount": "1"}
    bad = [
        b"hello",
        wire("OrderPlaced", **{**order, "amount": True}),
        wire("OrderPlaced", _schema_version=3),
        wire("OrderPlaced", **{**order, "amount": "NaN"}),
        wire("OrderPlaced", **{**order, "_schema_version": 4}),
        wire("OrderPlaced"),
        wire("OrderCancelled", order_id="o-9"),
        wire("OrderPlaced", **{**order, "amount": "7"}),
        wire("OrderPlaced", **{**order, "quantity": 2**63 - 1}),
    ]
    good = wire("OrderPlaced", **order)
    given = reasons(fold_values(Orders, [good, *bad]))
    given += reasons(fold_values(Orders, [good], key=None))
    given += reasons(fold_values(Orders, [b"[" * 201 + b"]" * 201]))

    place = re.compile(r"\(\w+\.py:\d+\)")
    assert [place.sub("(FILE:LINE)", reason) for reason in given] == [
        place.sub("(FILE:LINE)", reason) for reason in shown
    ]
