"""The whole road on the shop's events, a third of the orders in old versions and every fiftieth record malformed."""

import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

SHOP = Path(__file__).parent.parent / "examples" / "shop"
KAPPA = Path(sys.executable).with_name("kappa")
OPTIONS = ("--events=20000", "--keys=500", "--old=0.3")


def run(folder, *command):
    """Run a command in a project's folder and return what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The example's folder with everything ingested and folded."""
    folder = tmp_path_factory.mktemp("project") / "shop"
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    run(folder, sys.executable, "generate.py", *OPTIONS, "--out=good.ndjson")
    run(folder, sys.executable, "generate.py", *OPTIONS, "--bad=0.02", "--out=events.ndjson")
    run(folder, KAPPA, "ingest", "events.ndjson")
    run(folder, KAPPA, "run", "--until-caught-up")
    return folder


@pytest.fixture(scope="module")
def events(project):
    """The events that were not spoilt, in order."""
    good = (project / "good.ndjson").read_text().splitlines()
    given = (project / "events.ndjson").read_text().splitlines()
    return [json.loads(line) for line, again in zip(good, given, strict=True) if line == again]


def found(project, sql):
    """The rows that a query finds, by their first column."""
    rows = json.loads(run(project, KAPPA, "query", sql, "--rows-max=100000", "--json"))["rows"]
    return {key: tuple(values) for key, *values in rows}


def euros(order):
    """What an order adds to `total_spent`, whatever the version."""
    if order.get("currency", "EUR") != "EUR":
        return 0
    return Decimal(order["amount"]) if "amount" in order else Decimal(order["amount_cents"]) / 100


def test_orders_of_three_versions_add_up(project, events):
    rows = found(project, "SELECT user_id, total_orders, total_spent, page_views FROM user_profile")

    orders, spent, views = Counter(), defaultdict(Decimal), Counter()
    for event in events:
        if event["type"] == "OrderPlaced":
            orders[event["user_id"]] += 1
            spent[event["user_id"]] += euros(event)
        views[event["user_id"]] += event["type"] == "PageView"
    assert {event.get("_schema_version", 1) for event in events if event["type"] == "OrderPlaced"} == {1, 2, 3}
    assert {user: (count, Decimal(total), seen) for user, (count, total, seen) in rows.items()} == {
        user: (orders[user], spent[user], views[user]) for user in {event["user_id"] for event in events}
    }


def test_the_profile_is_the_last_that_each_customer_said(project, events):
    rows = found(project, "SELECT user_id, email, name, city FROM user_profile")

    profiles = defaultdict(dict)
    for event in events:
        profile = profiles[event["user_id"]]
        if event["type"] == "UserRegistered":
            profile["email"] = event["email"]
        elif event["type"] == "ProfileUpdated":
            profile[event["field"]] = event["value"]
    assert rows == {
        user: (profile.get("email"), profile.get("name"), profile.get("city")) for user, profile in profiles.items()
    }


def test_pages_are_counted_by_their_own_key(project, events):
    rows = found(project, "SELECT page, views, mobile_views, visitors FROM page_popularity")

    seen = [event for event in events if event["type"] == "PageView"]
    views = Counter(event["page"] for event in seen)
    mobile = Counter(event["page"] for event in seen if event["device"] == "mobile")
    visitors = Counter(page for page, _ in {(event["page"], event["user_id"]) for event in seen})
    assert rows == {page: (views[page], mobile[page], visitors[page]) for page in views}


def test_whatever_was_spoilt_was_set_aside_and_nothing_else(project):
    listed = json.loads(run(project, KAPPA, "dlq", "list", "-n", "10000", "--json"))

    good = set((project / "good.ndjson").read_text().splitlines())
    spoilt = set((project / "events.ndjson").read_text().splitlines()) - good
    assert len(spoilt) > 300
    assert {letter["value"] for letter in listed["first"]} == spoilt
