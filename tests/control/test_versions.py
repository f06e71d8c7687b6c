"""First versions: what is deployed and made primary when a project is run, and what is said of changed code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kappa.adapters.sqlite.control import SqliteControl
from kappa.adapters.sqlite.views import SqliteViews
from kappa.control.bundles import Bundles
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.project import Project, load_project
from kappa.control.versions import FirstVersions, LogLayout, deployment_of
from kappa.errors import DefinitionError, ProjectError
from kappa.ports import ControlStore, Version

LAYOUT = LogLayout("user_id", 4, group_count=2)
SHOP = '''
from decimal import Decimal
from kappa import Event, View, count, on, total

RATE = Decimal("1.10")

def in_euro(amount):
    return amount * RATE

class OrderPlaced(Event):
    user_id: str
    product: str
    amount: Decimal

class Customer(View, key="user_id"):
    orders: int = count(OrderPlaced)
    spent: Decimal = Decimal(0)

    @on(OrderPlaced)
    def placed(self, event):
        """Converted."""
        self.spent += in_euro(event.amount)  # from dollars

class Product(View, key="product"):
    sold: int = count(OrderPlaced)
'''


class Shop:
    """A project whose code a test changes; each start is one of a new process."""

    def __init__(self, folder: Path, control: ControlStore) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        self.control = control
        self.store = SqliteViews(folder / "views")
        self.bundles = Bundles(folder / "bundles", control)

    def write(self, code: str) -> None:
        """Change the code."""
        (self.root / "kept_shop.py").write_text(code)

    def load(self) -> Project:
        """Import the code."""
        sys.modules.pop("kept_shop", None)
        return load_project(self.root, ["kept_shop"])

    def start(self, code: str, *, control: ControlStore | None = None) -> tuple[str, ...]:
        """Write the code, deploy what is new, and return what is said."""
        self.write(code)
        first = FirstVersions(
            self.root, ["kept_shop"], bundles=self.bundles, control=control or self.control, store=self.store
        )
        return first.deploy(self.load, layout=LAYOUT, actor="ana")

    def deploy_candidate(self, code: str) -> Version:
        """Deploy code as the next version of `customer`, as a plan does."""
        self.write(code)
        view = self.load().views["customer"]
        return self.control.deploy(
            deployment_of(
                view,
                len(self.control.versions("customer")) + 1,
                parts=fingerprint_parts(view, self.root),
                bundle=self.bundles.store(self.root, ["kept_shop"]),
                layout=LAYOUT,
            )
        )


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    control = SqliteControl(tmp_path / "control.db")
    shop = Shop(tmp_path, control)
    yield shop
    sys.modules.pop("kept_shop", None)
    shop.store.close()
    control.close()


def test_the_first_version_of_a_view_is_primary_at_once(shop: Shop) -> None:
    assert shop.start(SHOP) == ()

    assert shop.control.release().primaries == {"customer": 1, "product": 1}
    (entry,) = shop.control.history(limit=10)
    assert (entry.actor, entry.action, entry.detail) == ("ana", "deploy", "customer v1, product v1, primary at once")


def test_a_first_version_runs_from_a_bundle(shop: Shop) -> None:
    shop.start(SHOP)
    (version,) = shop.control.versions("customer")
    shop.write("broken(")

    row = shop.bundles.code(version).view.fold([{"type": "OrderPlaced", "user_id": "ana", "product": "p", "amount": 1}])

    assert str(row.spent) == "1.10"


def test_a_view_with_another_key_than_the_event_log_reads_a_repartitioned_log(shop: Shop) -> None:
    shop.start(SHOP)

    assert {version.table.view: version.table.log for version in shop.control.versions()} == {
        "customer": "events",
        "product": "events-by-product",
    }


def test_a_view_that_is_new_is_deployed_beside_the_others(shop: Shop) -> None:
    shop.start(SHOP)

    shop.start(SHOP + '\nclass Buyer(View, key="user_id"):\n    orders: int = count(OrderPlaced)\n')

    assert shop.control.release().primaries == {"buyer": 1, "customer": 1, "product": 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # from dollars", "  # from US dollars"),
        ('"""Converted."""', '"""Converted to euros."""'),
        ("    return amount * RATE", "    return (amount\n            * RATE)"),
        ("class OrderPlaced(Event):", "class OrderPlaced(Event):\n    '''A customer ordered.'''"),
    ],
    ids=["comment", "docstring", "layout", "docstring of an event"],
)
def test_what_does_not_change_rows_is_not_mentioned(shop: Shop, old: str, new: str) -> None:
    shop.start(SHOP)

    assert old in SHOP
    assert shop.start(SHOP.replace(old, new)) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("orders: int = count(OrderPlaced)", "orders: int = count(OrderPlaced, where=OrderPlaced.amount > 0)"),
        ("spent: Decimal = Decimal(0)", "spent: Decimal = Decimal(1)"),
        ("self.spent += in_euro(event.amount)", "self.spent = in_euro(event.amount)"),
        ("amount * RATE", "amount / RATE"),
        ('RATE = Decimal("1.10")', 'RATE = Decimal("1.20")'),
        ("    amount: Decimal", "    amount: Decimal = Decimal(1)"),
    ],
    ids=["fold", "default", "handler", "helper", "constant", "event"],
)
def test_what_can_change_rows_is_mentioned_and_changes_nothing(shop: Shop, old: str, new: str) -> None:
    shop.start(SHOP)
    assert old in SHOP

    notes = shop.start(SHOP.replace(old, new))

    assert "customer has changed since v1 was deployed: kappa plan" in notes
    assert len(shop.control.versions()) == 2
    assert shop.control.release().revision == 1


def test_a_method_of_an_event_counts_even_if_the_handler_does_not_say_what_it_takes(shop: Shop) -> None:
    code = SHOP.replace(
        "    amount: Decimal\n", "    amount: Decimal\n\n    def net(self):\n        return self.amount\n"
    )
    code = code.replace("in_euro(event.amount)", "event.net()")
    shop.start(code)

    assert shop.start(code.replace("return self.amount", "return self.amount / 2")) != ()


def test_changed_code_that_a_candidate_runs_is_not_mentioned(shop: Shop) -> None:
    shop.start(SHOP)
    changed = SHOP.replace("* RATE", "/ RATE")
    shop.deploy_candidate(changed)

    assert shop.start(changed) == ()
    shop.control.retire("customer", 2, aborted=True)
    assert shop.start(changed) == ("customer has changed since v1 was deployed: kappa plan",)


def test_a_view_that_is_gone_from_the_code_goes_on(shop: Shop) -> None:
    shop.start(SHOP)

    assert shop.start(SHOP.partition("class Product")[0]) == (
        "product is not in the project's code any more; v1 goes on",
    )


def test_code_that_is_broken_stops_nothing_that_is_deployed(shop: Shop) -> None:
    shop.start(SHOP)

    (note,) = shop.start(SHOP + "\nbroken(")

    assert note.startswith("the project's code cannot be used, so what is deployed runs: module 'kept_shop' cannot be")
    assert f"{shop.root / 'kept_shop.py'}:" in note


def test_code_that_is_broken_is_an_error_before_anything_is_deployed(shop: Shop) -> None:
    with pytest.raises(ProjectError, match="'kept_shop' cannot be imported"):
        shop.start("broken(")


def test_code_that_is_unsound_is_an_error_while_a_view_is_not_served(shop: Shop) -> None:
    """Its first deployment was interrupted, so something has to be decided first."""
    shop.write(SHOP)
    shop.deploy_candidate(SHOP)

    with pytest.raises(DefinitionError):
        shop.start("from kappa import Event\nclass Odd(Event):\n    amount: complex")


class Killed(Exception):
    """The process was killed here."""


class Dies:
    """A control store whose process is killed when it calls one of its methods."""

    def __init__(self, control: ControlStore, method: str) -> None:
        self._control, self._method = control, method

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            raise Killed
        return getattr(self._control, name)


@pytest.mark.parametrize("method", ["deploy", "change_release"])
def test_a_deployment_that_was_killed_goes_on_where_it_stopped(shop: Shop, method: str) -> None:
    with pytest.raises(Killed):
        shop.start(SHOP, control=Dies(shop.control, method))

    assert shop.start(SHOP) == ()
    assert [version.table.name for version in shop.control.versions()] == ["customer__v1", "product__v1"]
    assert shop.control.release().primaries == {"customer": 1, "product": 1}


def test_what_was_deployed_before_a_kill_is_served_even_if_the_code_has_changed(shop: Shop) -> None:
    with pytest.raises(Killed):
        shop.start(SHOP, control=Dies(shop.control, "change_release"))

    notes = shop.start(SHOP.replace("* RATE", "/ RATE"))

    assert notes == ("customer has changed since v1 was deployed: kappa plan",)
    assert shop.control.release().primaries == {"customer": 1, "product": 1}
