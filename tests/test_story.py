"""Changing live views, from the command line, while events keep arriving and processes are killed."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from storages import KAFKA, KAFKA_AND_POSTGRES, SQLITE, on
from typed_project import Project

from kappa.testing.eventually import eventually

pytestmark = [pytest.mark.slow, on(SQLITE, KAFKA, KAFKA_AND_POSTGRES)]

SHOP = Path(__file__).parents[1] / "examples" / "shop"
EVENTS = 60_000
# Both views change: one declared fold, and one that reads a log of its own.
IN_CENTS = ("total(OrderPlaced.amount, where=", "total(OrderPlaced.amount * 100, where=")
DESKTOP = ('PageView.device == "mobile"', 'PageView.device != "desktop"')
LOOKED = ("count(PageView)\n\n    @on", "count(PageView, where=PageView.page != '/')\n\n    @on")


@pytest.fixture
def shop(tmp_path: Path, storage: str) -> Project:
    """The shop, whose views have folded half of the events; the other half is yet to come."""
    folder = shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns(".kappa", "__pycache__"))
    generated = subprocess.run(
        [sys.executable, "generate.py", "--events", str(EVENTS), "--keys", "500", "--bad", "0.01", "--old", "0.2"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = generated.stdout.splitlines(keepends=True)
    (folder / "before.ndjson").write_text("".join(lines[: EVENTS // 2]))
    (folder / "after.ndjson").write_text("".join(lines[EVENTS // 2 :]))
    project = Project(folder)
    project("ingest", "before.ndjson")
    project("run", "--until-caught-up")
    return project


def test_two_views_change_while_events_arrive(shop: Project) -> None:
    with shop.background("up"), shop.background("ingest", "after.ndjson", "--rate", "3000"):
        shop.edit(IN_CENTS, DESKTOP)
        plan = shop.json("plan")
        assert [view["kind"] for view in plan["views"]] == ["replay", "replay"]
        (shop.folder / "shop.py").write_text("this is no Python")

        shop("apply", "1")
        eventually(lambda: shop.states("user_profile") == {1: "primary", 2: "caught-up"})
        report = shop.json("diff", "user_profile")
        assert (report["unverified"], report["only_left"], report["only_right"]) == (0, 0, 0)
        assert [column["name"] for column in report["columns"] if column["changed"]] == ["total_spent"]

        shop("shift", "user_profile", "v2=10")
        assert shop.states("user_profile") == {1: "primary", 2: "canary"}
        shop("promote")
        assert shop.states("page_popularity") == {1: "warm", 2: "primary"}
        shop("rollback")
        # Each commits once a second, so one may be ahead of the other when this looks.
        eventually(lambda: shop.states("user_profile") == {1: "primary", 2: "caught-up"})
        shop("promote", "user_profile", "v2", "page_popularity", "v2")

    shop("ingest", "after.ndjson")
    (shop.folder / "shop.py").write_text((SHOP / "shop.py").read_text())
    shop("run", "--until-caught-up")
    spent = "user_id, round(total_spent * 1.0, 2), total_orders"
    cents = [[user, float(amount), orders] for user, amount, orders in shop.rows("user_profile", "user_id", spent)]
    shop("rollback", "user_profile")
    euros = shop.rows("user_profile", "user_id", spent)
    assert cents == [[user, pytest.approx(100 * float(amount), abs=0.1), orders] for user, amount, orders in euros]
    assert [entry["action"] for entry in shop.json("history")][-2:] == ["promote", "roll-back"]


@pytest.mark.parametrize("someone_runs", [True, False], ids=["beside kappa up", "on its own"])
def test_apply_is_killed_in_every_step(shop: Project, someone_runs: bool) -> None:
    """With -9, when a step is done, and once more a moment after the next has begun."""
    chance = random.Random(1)  # noqa: S311 - reproducible on purpose
    shop.edit(LOOKED, DESKTOP)
    steps = len(shop.json("plan")["steps"])
    shop("ingest", "after.ndjson")

    up = shop.start("up") if someone_runs else None
    try:
        for step in range(1, steps + 1):
            for delay_s in (0.0, chance.uniform(0.0, 0.3)):
                kill_when_done(shop.start("apply", "--promote"), step, delay_s)
        shop("apply", "--promote")
    finally:
        if up is not None:
            up.terminate()
            up.communicate(timeout=60)

    assert shop.json("apply")["state"] == "applied"
    assert shop.states("user_profile") == {1: "warm", 2: "primary"}
    shop("run", "--until-caught-up")
    for view in ("user_profile", "page_popularity"):
        report = shop.json("diff", view, "v1", "v2")
        assert report["complete"]
        assert (report["only_left"], report["only_right"]) == (0, 0)
    actions = [entry["action"] for entry in shop.json("history")]
    assert [actions.count(action) for action in ("plan", "promote", "apply")] == [1, 1, 1]


def kill_when_done(process: subprocess.Popen[str], step: int, delay_s: float) -> None:
    """Kill a `kappa apply` once it says that a step is done, or later, unless it ends before."""
    timer = threading.Timer(60, process.kill)
    timer.start()
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[:1] == [str(step)] and line.endswith("done\n"):
            break
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    timer.cancel()


def test_kappa_up_dies_during_a_replay_and_apply_takes_over(shop: Project) -> None:
    up = shop.start("up")
    eventually(lambda: shop.json("status")["running_in"] is not None)
    shop.edit(LOOKED)
    shop("plan")
    apply = shop.start("apply")
    eventually(lambda: 2 in shop.states("user_profile"))
    up.kill()
    up.communicate()

    said, _ = apply.communicate(timeout=120)

    assert apply.returncode == 0, said
    assert "waits for your review" in said


def test_two_applies_of_one_plan_end_in_the_same_state(shop: Project) -> None:
    shop.edit(LOOKED, DESKTOP)
    shop("plan")
    both = [shop.start("apply", "--promote") for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]

    assert 0 in [process.returncode for process in both], said
    assert shop.states("user_profile") == {1: "warm", 2: "primary"}
    assert shop.json("apply")["state"] == "applied"
