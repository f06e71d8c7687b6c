"""`kappa schema`, on a project whose event type changes, and ingestion that holds events against what is registered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FIRST = """
from decimal import Decimal
from kappa import Event, View, count

class OrderPlaced(Event):
    user_id: str
    amount: Decimal

class Orders(View, key="user_id"):
    orders: int = count(OrderPlaced)
"""
ADDED = FIRST.replace("amount: Decimal", 'amount: Decimal\n    channel: str = "web"')
REQUIRED = FIRST.replace("amount: Decimal", "amount: Decimal\n    currency: str")
UPCASTER = """currency: str

    @classmethod
    def upcast_1(cls, old: dict) -> dict:
        return {**old, "currency": "EUR"}
"""
RAISED = REQUIRED.replace("(Event)", "(Event, version=2)").replace("currency: str", UPCASTER)


@pytest.fixture
def shop(kappa, project: Path) -> Path:
    """A project whose only event type is registered."""
    (project / "shop.py").write_text(FIRST)
    assert kappa("schema", "register").out == "registered OrderPlaced version 1\n"
    return project


def test_a_registered_event_is_a_file_beside_the_code(kappa, shop) -> None:
    registered = json.loads((shop / "schemas" / "shop-OrderPlaced" / "1.json").read_text())

    assert registered["required"] == ["type", "timestamp", "user_id", "amount"]
    assert registered["properties"]["amount"] == {"type": ["string", "number"], "format": "decimal"}
    assert kappa("schema", "check").out == "OrderPlaced is registered as it is\n"
    assert kappa("schema", "register").out == "nothing to register: all event types are registered as they are\n"


def test_a_field_with_a_default_can_be_added(kappa, shop) -> None:
    (shop / "shop.py").write_text(ADDED)

    assert kappa("schema", "diff", "OrderPlaced").out.splitlines() == [
        '+ channel: string = "web"',
        "OrderPlaced has changed, and is compatible with all that is registered",
    ]
    assert kappa("schema", "register").out == "registered OrderPlaced version 1\n"
    assert [each["number"] for each in kappa("schema", "list", "--json").json] == [1, 2]


def test_a_change_that_old_events_cannot_bear_is_refused_with_field_and_rule(kappa, shop) -> None:
    (shop / "shop.py").write_text(REQUIRED)

    checked = kappa("schema", "check")

    assert checked.code == 1
    assert checked.out.splitlines() == [
        "OrderPlaced is incompatible",
        "  - against 1, backward: currency: is required, and was not (required-added)",
        "  next: declare OrderPlaced with version=2 and upcast_1, or give what is new a default",
    ]
    refused = kappa("schema", "register")
    assert refused.code == 1
    assert "currency: is required, and was not (required-added)" in refused.err
    assert not (shop / "schemas" / "shop-OrderPlaced" / "2.json").exists()


def test_an_upcaster_makes_the_same_change_compatible(kappa, shop) -> None:
    (shop / "shop.py").write_text(RAISED)

    assert kappa("schema", "check").code == 0
    assert kappa("schema", "register").out == ("registered OrderPlaced version 2; reads version 1 through upcasters\n")


def test_full_compatibility_refuses_what_running_versions_cannot_read(kappa, shop, monkeypatch) -> None:
    monkeypatch.setenv("KAPPA_REGISTRY_COMPATIBILITY", "full")
    (shop / "shop.py").write_text(RAISED)

    checked = kappa("schema", "check")

    assert checked.code == 1
    assert "code at version 1 cannot read version 2, which is not declared readable from there" in checked.out
    assert "(version-raised)" in checked.out


def test_an_event_type_that_is_not_there_is_named(kappa, shop) -> None:
    assert "the project has no event type 'Order'" in kappa("schema", "diff", "Order").err


def test_ci_checks_the_committed_files_without_the_registry(kappa, shop, monkeypatch) -> None:
    monkeypatch.setenv("KAPPA_REGISTRY_URL", "http://127.0.0.1:1")

    assert kappa("schema", "check", "--committed").code == 0
    away = kappa("schema", "check")
    assert away.code == 1
    assert away.err.startswith("error: could not use the schema registry at http://127.0.0.1:1")


def line(**fields: object) -> str:
    event = {"type": "OrderPlaced", "timestamp": "2026-03-01T00:00:00Z", "user_id": "ana", "amount": "9.90"}
    return json.dumps(event | fields) + "\n"


def test_ingestion_rejects_what_is_not_as_registered_if_asked(kappa, shop) -> None:
    lines = [
        line(),
        line(amount=True),
        line(amount="many"),
        line(amount=1.5, more="is allowed"),
        line(_schema_version=2),
        line(type="Unknown"),
        line(timestamp="2026-03-01T00:00:00+01:00"),
    ]
    (shop / "orders.ndjson").write_text("".join(lines))

    report = kappa("ingest", "orders.ndjson", "--validate", "--json").json["report"]

    assert (report["appended"], report["rejected"]) == (3, 4)
    assert [each["reason"] for each in report["reasons"]] == [
        "OrderPlaced: True is not of type 'string', 'number' - at `$.amount`",
        "OrderPlaced: 'many' is not a 'decimal' - at `$.amount`",
        "Expected a registered schema of OrderPlaced version 2, found none",
        "Expected a registered schema of Unknown version 1, found none",
    ]


def test_rejected_input_is_held_against_what_is_registered_when_it_is_tried_again(kappa, shop) -> None:
    (shop / "orders.ndjson").write_text(line(_schema_version=2, currency="EUR") + line())
    kappa("ingest", "orders.ndjson", "--validate")
    (shop / "shop.py").write_text(RAISED)

    assert kappa("dlq", "retry", "--all", "--json").json["accepted"] == 0
    kappa("schema", "register")
    assert kappa("dlq", "retry", "--all", "--json").json["accepted"] == 1


def test_a_plan_warns_of_an_incompatible_event_and_is_made_all_the_same(kappa, shop) -> None:
    assert "warning" not in kappa("plan").out
    (shop / "shop.py").write_text(REQUIRED)

    text, made = kappa("plan"), kappa("plan", "--json").json

    (warning,) = made["warnings"]
    assert text.code == 0
    assert f"warning: {warning}\n" in text.out
    assert warning.startswith("OrderPlaced is incompatible with what is registered: against 1, backward: currency: ")
    assert warning.endswith("; see: kappa schema check")


def test_a_plan_says_nothing_of_schemas_where_none_is_registered(kappa, project) -> None:
    assert kappa("plan", "--json").json["warnings"] == []


def test_a_plan_says_that_the_registry_is_away_and_does_without(kappa, shop, monkeypatch, free_port) -> None:
    monkeypatch.setenv("KAPPA_REGISTRY_URL", f"http://127.0.0.1:{free_port}")

    planned = kappa("plan")

    assert planned.code == 0
    assert "warning: the schemas of events were not checked: could not use the schema registry at http" in planned.out
