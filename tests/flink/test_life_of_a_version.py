"""Changing a live view whose versions are jobs of a Flink cluster, from the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typed_project import Project

from kappa.adapters.flink.rest import FlinkRest
from kappa.stack import Stack
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

SHOP = Path(__file__).parents[2] / "examples" / "shop"
EVENTS = 20_000
IN_CENTS = ("total(OrderPlaced.amount, where=", "total(OrderPlaced.amount * 100, where=")
PROFILES = ("user_profile", "user_id", "user_id, total_orders, total_spent, last_order_at")
# A job is submitted meanwhile.
SUBMITTED_S = 180.0


def shop_in(folder: Path, environment: dict[str, str]) -> Project:
    """Return a shop with one view: two versions of it then are two jobs, as many as the cluster has TaskManagers."""
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns(".kappa", "__pycache__"))
    module = folder / "shop.py"
    module.write_text(module.read_text().partition("class PagePopularity")[0])
    command = [sys.executable, "generate.py", "--events", str(EVENTS), "--keys", "200", "--bad", "0.01", "--old", "0.2"]
    lines = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines(True)
    (folder / "before.ndjson").write_text("".join(lines[: EVENTS // 2]))
    (folder / "after.ndjson").write_text("".join(lines[EVENTS // 2 :]))
    return Project(folder, environment)


@pytest.fixture
def shop(tmp_path: Path, flink_stack: Stack) -> Iterator[Project]:
    name = f"shop{uuid.uuid4().hex[:8]}"
    settings = {
        "KAPPA_PROJECT_NAME": name,
        "KAPPA_ENGINE_KIND": "flink",
        "KAPPA_POSTGRES_SCHEMA_PREFIX": name,
        "KAPPA_FLINK_LIVE_CHECKPOINT_INTERVAL_S": "2",
    }
    yield shop_in(tmp_path / "shop", {**os.environ, **flink_stack.client_environment(), **settings})
    rest = FlinkRest(flink_stack.address("flink"))
    for job in rest.jobs():
        if job.name.startswith(f"kappa {name} ") and not job.ended:
            rest.cancel(job.id)


@pytest.fixture
def beside(tmp_path: Path) -> Project:
    """The same shop, with nothing but files."""
    return shop_in(tmp_path / "beside", {key: value for key, value in os.environ.items() if key[:6] != "KAPPA_"})


def test_a_version_is_replayed_compared_promoted_rolled_back_and_retired(
    shop: Project, beside: Project, flink_stack: Stack
) -> None:
    shop("ingest", "before.ndjson")
    shop("run", "--until-caught-up")
    with shop.background("up"):
        shop.edit(IN_CENTS)
        wide = Project(shop.folder, {**(shop.environment or {}), "KAPPA_FLINK_LIVE_PARALLELISM": "2"})
        assert about_slots(wide.json("plan"))[0].startswith(
            "all jobs together need 4 slots, and the Flink cluster has 2"
        )
        plan = shop.json("plan")
        assert about_slots(plan) == []
        assert [(each["name"], each["checkpoint_interval_s"]) for each in plan["views"][0]["profiles"]] == [("live", 2)]
        shop("apply", "2")
        report = shop.json("diff", "user_profile")
        assert (report["unverified"], report["only_left"], report["only_right"]) == (0, 0, 0)
        assert [column["name"] for column in report["columns"] if column["changed"]] == ["total_spent"]
        shop("shift", "user_profile", "v2=10")
        shop("promote")
        shop("rollback")
        shop("promote", "user_profile", "v2")
        assert shop.states("user_profile") == {1: "warm", 2: "primary"}
        shop("retire", "user_profile", "v1")
        eventually(lambda: names_of_jobs(shop, flink_stack) == ["user_profile__v2"], timeout_s=SUBMITTED_S)

    # Nobody runs the project any more, and its job goes on.
    shop("ingest", "after.ndjson")
    eventually(lambda: shop.json("status")["lag"] == 0, timeout_s=SUBMITTED_S)
    beside.edit(IN_CENTS)
    beside("ingest", "before.ndjson")
    beside("ingest", "after.ndjson")
    beside("run", "--until-caught-up")
    assert shop.rows(*PROFILES) == beside.rows(*PROFILES)
    assert len(shop.rows(*PROFILES)) > 0


def about_slots(plan: Any) -> list[str]:
    return [warning for warning in plan["warnings"] if "slots" in warning]


def names_of_jobs(shop: Project, stack: Stack) -> list[str]:
    """Return the tables of the shop's jobs that run."""
    assert shop.environment is not None
    beginning = f"kappa {shop.environment['KAPPA_PROJECT_NAME']} "
    jobs = FlinkRest(stack.address("flink")).jobs()
    return sorted(job.name.removeprefix(beginning) for job in jobs if job.name.startswith(beginning) and not job.ended)
