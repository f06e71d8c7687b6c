"""The shop's OrderPlaced in versions 1, 2 and 3, all in one log, read by the shop's view and by code of long ago."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import pytest

from kappa.stack import Stack

SHOP = Path(__file__).parents[2] / "examples" / "shop"

ORDER = {"type": "OrderPlaced", "event_id": "e", "user_id": "ana", "order_id": "o", "timestamp": "2026-03-01T00:00:00Z"}
ONE = {**ORDER, "amount_cents": 1000}
TWO = {**ORDER, "_schema_version": 2, "amount_cents": 200, "currency": "EUR"}
THREE = {**ORDER, "_schema_version": 3, "amount": "0.03", "currency": "EUR"}

# What the shop's code was when version 2 was the newest.
SECOND = """
from decimal import Decimal
from kappa import Event, View, count, total

class OrderPlaced(Event, version=2):
    event_id: str
    user_id: str
    order_id: str
    amount_cents: int
    currency: str

    @classmethod
    def upcast_1(cls, old: dict) -> dict:
        return {**old, "currency": "EUR"}

class Orders(View, key="user_id"):
    orders: int = count(OrderPlaced)
    cents: int = total(OrderPlaced.amount_cents)
"""
FIRST = SECOND.partition("    currency")[0].replace(", version=2", "")
# The same view, on events of version 3.
THIRD = (
    "from shop_events import OrderPlaced\nfrom kappa import View, count, total\nfrom decimal import Decimal\n\n"
    'class Orders(View, key="user_id"):\n'
    "    orders: int = count(OrderPlaced)\n"
    "    spent: Decimal = total(OrderPlaced.amount)\n"
)

# Version 3 as former code can read it: what is new is required, and nothing is gone.
UPCAST_2 = """
    @classmethod
    def upcast_2(cls, old: dict) -> dict:
        return {**old, "channel": "web"}
"""
READABLE = (
    SECOND.replace("version=2", "version=3, readable_from=2")
    .replace("    currency: str\n", "    currency: str\n    channel: str\n")
    .replace("\nclass Orders", UPCAST_2 + "\nclass Orders")
) + "    shops: int = count(OrderPlaced, where=OrderPlaced.channel == 'shop')\n"
READABLE_THREE = {**TWO, "_schema_version": 3, "_readable_from": 2, "channel": "shop"}

# The same without a new version: a field more, which has a default.
ADDED = SECOND.replace("    currency: str\n", '    currency: str\n    channel: str = "web"\n') + (
    "    shops: int = count(OrderPlaced, where=OrderPlaced.channel == 'shop')\n"
)
NEWER = {**TWO, "channel": "shop"}


@pytest.fixture(params=["files", "servers"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep logs and schemas in files, then in Kafka and a registry."""
    if request.param == "servers":
        stack: Stack = request.getfixturevalue("small_stack")
        monkeypatch.setenv("KAPPA_LOG_STORE", "kafka")
        monkeypatch.setenv("KAPPA_KAFKA_BOOTSTRAP_SERVERS", stack.address("kafka"))
        monkeypatch.setenv("KAPPA_KAFKA_TOPIC_PREFIX", f"{uuid.uuid4().hex[:8]}.")
        monkeypatch.setenv("KAPPA_KAFKA_REPLICATION_FACTOR", "1")
        monkeypatch.setenv("KAPPA_KAFKA_MIN_INSYNC_REPLICAS", "1")
        monkeypatch.setenv("KAPPA_REGISTRY_URL", stack.address("registry"))
        # Its subjects begin with this.
        monkeypatch.setenv("KAPPA_PROJECT_NAME", f"shop-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def project(place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kappa.toml").write_text('[project]\nname = "shop"\nmodules = ["shop"]\n[log]\nkey = "user_id"\n')
    shutil.copy(SHOP / "shop.py", tmp_path / "shop_events.py")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def append(kappa, project: Path, *events: dict) -> None:
    with (project / "orders.ndjson").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    assert kappa("ingest", "orders.ndjson", "--validate").code == 0


def old_and_new(kappa) -> list[dict]:
    """Apply the plan for the code that has changed, and return Ana's row in the version before and in the new one."""
    kappa("plan")
    kappa("apply")
    kappa("run", "--until-caught-up")
    return [kappa("get", "orders", "ana", "--version", version, "--json").json["columns"] for version in ("v1", "v2")]


@pytest.mark.slow
def test_old_and_new_views_read_all_versions_of_an_event_in_one_log(
    kappa, project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version that former code can read says so; `full` checks it against the schemas of that code."""
    monkeypatch.setenv("KAPPA_REGISTRY_COMPATIBILITY", "full")
    (project / "shop.py").write_text(SECOND)
    assert kappa("schema", "register").code == 0
    append(kappa, project, TWO)
    with (project / "orders.ndjson").open("a") as file:
        file.write(json.dumps(ONE) + "\n")
    assert kappa("ingest", "orders.ndjson").code == 0
    kappa("run", "--until-caught-up")
    (project / "shop.py").write_text(READABLE.replace("amount_cents", "cents"))
    refused = kappa("schema", "check")

    assert refused.code == 1
    assert "amount_cents: is required, and was not (required-added)" in refused.out
    assert "keep in OrderPlaced what its former code reads, or declare a higher readable_from" in refused.out

    (project / "shop.py").write_text(READABLE)
    assert kappa("schema", "register").code == 0
    append(kappa, project, READABLE_THREE)

    old, new = old_and_new(kappa)
    assert (old["orders"], old["cents"]) == (3, 1400)
    assert (new["orders"], new["cents"], new["shops"]) == (3, 1400, 1)
    assert kappa("dlq", "list", "--json").json["dead_letters"] == 0


@pytest.mark.slow
def test_a_version_that_old_code_would_misread_is_set_aside_by_old_views(kappa, project) -> None:
    """An old version goes on with what its code knows; it stays right for those it knows."""
    for code in (FIRST, SECOND):
        (project / "shop.py").write_text(code)
        assert kappa("schema", "register").code == 0
    append(kappa, project, ONE, TWO)
    kappa("run", "--until-caught-up")

    assert kappa("get", "orders", "ana", "--json").json["columns"]["cents"] == 1200

    (project / "shop.py").write_text(THIRD)
    checked = kappa("schema", "register")
    assert checked.out == ("registered OrderPlaced version 3; reads version 1, 2 through upcasters\n")
    append(kappa, project, THREE)

    old, new = old_and_new(kappa)
    assert (old["orders"], old["cents"]) == (2, 1200)
    assert (new["orders"], new["spent"]) == (3, "12.03")
    aside = kappa("dlq", "list", "--json").json
    assert aside["dead_letters"] == 1
    assert "version 3 is newer than this code, which reads up to 2" in aside["first"][0]["reason"]


@pytest.mark.slow
def test_a_field_that_is_added_within_a_version_is_read_past_by_the_views_of_before(
    kappa, project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `full` is for: it is checked that nobody misses anything, so old and new views read all events."""
    monkeypatch.setenv("KAPPA_REGISTRY_COMPATIBILITY", "full")
    (project / "shop.py").write_text(SECOND)
    assert kappa("schema", "register").code == 0
    append(kappa, project, TWO)
    kappa("run", "--until-caught-up")
    (project / "shop.py").write_text(ADDED)
    assert kappa("schema", "register").code == 0
    append(kappa, project, NEWER)

    old, new = old_and_new(kappa)
    assert (old["orders"], old["cents"]) == (2, 400)
    assert (new["orders"], new["cents"], new["shops"]) == (2, 400, 1)
    assert kappa("dlq", "list", "--json").json["dead_letters"] == 0

    (project / "shop.py").write_text(THIRD)
    refused = kappa("schema", "check")

    assert refused.code == 1
    assert "version-raised" in refused.out
