"""Deploying: what is a new version, which one is primary, and that an interrupted rebuild goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kappa.adapters.sqlite.control import SqliteControl
from kappa.adapters.sqlite.views import SqliteViews
from kappa.control.fingerprints import fingerprints
from kappa.control.project import load_project
from kappa.control.versions import LogLayout, RunPlan, deploy_views, switch_to
from kappa.errors import ViewChanged

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

Deploy = Callable[..., RunPlan]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[SqliteControl]:
    opened = SqliteControl(tmp_path / "control.db")
    yield opened
    opened.close()


@pytest.fixture
def deploy(tmp_path: Path, control: SqliteControl) -> Iterator[Deploy]:
    """Deploy the project with this code, as a process that starts anew would."""
    store = SqliteViews(tmp_path / "views")

    def deploy_code(code: str, *, rebuild: bool = False) -> RunPlan:
        sys.modules.pop("kept_shop", None)
        (tmp_path / "kept_shop.py").write_text(code)
        project = load_project(tmp_path, ["kept_shop"])
        return deploy_views(
            project,
            fingerprints(project, tmp_path),
            control=control,
            store=store,
            layout=LAYOUT,
            rebuild=rebuild,
        )

    yield deploy_code
    sys.modules.pop("kept_shop", None)
    sys.path.remove(str(tmp_path))
    store.close()


def numbers(plan: RunPlan) -> dict[str, int]:
    return {version.table.view: version.table.version for version in plan.versions}


def test_the_first_version_of_a_view_is_primary_at_once(deploy: Deploy, control: SqliteControl) -> None:
    plan = deploy(SHOP)

    assert numbers(plan) == control.release().primaries == {"customer": 1, "product": 1}
    assert plan.candidates == ()


def test_a_view_with_another_key_than_the_event_log_reads_a_repartitioned_log(deploy: Deploy) -> None:
    assert {version.table.view: version.table.log for version in deploy(SHOP).versions} == {
        "customer": "events",
        "product": "events-by-product",
    }


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
def test_what_does_not_change_rows_is_the_same_version(deploy: Deploy, old: str, new: str) -> None:
    deploy(SHOP)

    assert old in SHOP
    assert numbers(deploy(SHOP.replace(old, new))) == {"customer": 1, "product": 1}


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
def test_what_can_change_rows_is_refused_until_a_rebuild(deploy: Deploy, old: str, new: str) -> None:
    deploy(SHOP)
    assert old in SHOP

    with pytest.raises(ViewChanged, match="'customer' has changed since v1") as refusal:
        deploy(SHOP.replace(old, new))

    assert refusal.value.next_step is not None
    assert "kappa run --rebuild" in refusal.value.next_step


def test_a_method_of_an_event_counts_even_if_the_handler_does_not_say_what_it_takes(deploy: Deploy) -> None:
    code = SHOP.replace(
        "    amount: Decimal\n", "    amount: Decimal\n\n    def net(self):\n        return self.amount\n"
    )
    code = code.replace("in_euro(event.amount)", "event.net()")
    deploy(code)

    with pytest.raises(ViewChanged):
        deploy(code.replace("return self.amount", "return self.amount / 2"))


def test_a_rebuilt_view_stays_a_candidate_until_the_switch(deploy: Deploy, control: SqliteControl) -> None:
    deploy(SHOP)

    plan = deploy(SHOP.replace("* RATE", "/ RATE"), rebuild=True)

    assert numbers(plan) == {"customer": 2, "product": 1}
    assert [version.table.name for version in plan.candidates] == ["customer__v2"]
    assert control.release().primaries == {"customer": 1, "product": 1}


def test_an_interrupted_rebuild_goes_on_with_the_same_version(deploy: Deploy) -> None:
    deploy(SHOP)
    changed = SHOP.replace("* RATE", "/ RATE")
    deploy(changed, rebuild=True)

    assert numbers(deploy(changed, rebuild=True)) == {"customer": 2, "product": 1}


def test_an_interrupted_rebuild_is_not_finished_by_accident(deploy: Deploy) -> None:
    deploy(SHOP)
    changed = SHOP.replace("* RATE", "/ RATE")
    deploy(changed, rebuild=True)

    with pytest.raises(ViewChanged):
        deploy(changed)


def test_the_switch_makes_candidates_primary_and_retires_what_they_replace(
    deploy: Deploy, control: SqliteControl
) -> None:
    deploy(SHOP)
    changed = SHOP.replace("* RATE", "/ RATE")

    switch_to(deploy(changed, rebuild=True).candidates, control=control)

    assert control.release().primaries == {"customer": 2, "product": 1}
    first, second = control.versions("customer")
    assert (first.retired_at is not None, second.retired_at) == (True, None)
    assert numbers(deploy(changed)) == {"customer": 2, "product": 1}


def test_going_back_to_former_code_is_a_new_version(deploy: Deploy, control: SqliteControl) -> None:
    """The former version is retired and its rows are old."""
    deploy(SHOP)
    switch_to(deploy(SHOP.replace("* RATE", "/ RATE"), rebuild=True).candidates, control=control)

    assert numbers(deploy(SHOP, rebuild=True)) == {"customer": 3, "product": 1}
