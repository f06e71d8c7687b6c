"""Applying a plan: it stops for a review, refuses what is stale, and whatever kills it, ends in the same state."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from storages import KAFKA, KAFKA_AND_POSTGRES, SQLITE, environment_of, on

from kappa.adapters.embedded.fold import FoldWorker, Pace
from kappa.app import App
from kappa.config import load_settings
from kappa.control.applying import Applied, Applying, StepAdvance
from kappa.control.plan_records import current_plan, reviewed_plan, waiting_plans
from kappa.control.ranges import TimeRange
from kappa.control.tail import time_of
from kappa.control.versions import FirstVersions
from kappa.errors import InputError, PlanNotFound, PlanStale, ReleaseRefused, SeedRefused, VersionNotFound, WorkerFailed
from kappa.model.kernel import Kernel
from kappa.model.records import NewRecord
from kappa.ports import Canary, Deployment, PlanRecord, PlanState, RunReport, WorkerHealth
from kappa.testing.eventually import eventually

START = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = """
[project]
name = "shops"
modules = ["shops"]
[log]
key = "shop"
partitions = 2
"""
CODE = """
from kappa import Event, View, count, maximum, total

class Sold(Event):
    shop: str
    cents: int

class Shop(View, key="shop", expect={"sales": "unchanged"}):
    sales: int = count(Sold)
    turnover: int = total(Sold.cents)

class Till(View, key="shop"):
    largest: int | None = maximum(Sold.cents)
"""
# What each plan starts from, and the code that it deploys.
NET = CODE.replace("total(Sold.cents)", "total(Sold.cents - 1)")
BOTH = NET.replace("maximum(Sold.cents)", "maximum(Sold.cents - 1)")
RENAMED = CODE.replace("turnover: int", "revenue: int")
RAISING = CODE.replace(", total", ", on, total").replace(
    "    largest: int | None = maximum(Sold.cents)\n",
    """    largest: int | None = maximum(Sold.cents)
    seen: int = 0

    @on(Sold)
    def sold(self, event: Sold) -> None:
        self.seen = 1 // (event.cents >= 10)
""",
)
MIGRATED = CODE.replace(", total", ", migrate, total").replace(
    "    turnover: int = total(Sold.cents)\n",
    """    turnover: int = total(Sold.cents)
    tax: int = 0

    @staticmethod
    @migrate(from_version=1)
    def from_1(old: dict) -> dict:
        return {"tax": max(0, old["turnover"] // 5)}
""",
)
FEWER_SALES = NET.replace("count(Sold)", "count(Sold, where=Sold.cents > 5)")
REFUND = NewRecord(
    b"shop 1", msgspec.json.encode({"type": "Sold", "timestamp": START, "shop": "shop 1", "cents": -1}), 0
)


class Folding:
    """Runs all versions in this process: at each poll, each folds all there is."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.failing = ""

    def poll(self) -> RunReport | None:
        for version in self._app.control.versions():
            if version.seeded and version.retired_at is None and version.table.name != self.failing:
                self._fold(version)
        health = WorkerHealth(self.failing, self.failing, "failed", None, 0, "its code cannot be imported")
        return RunReport(os.getpid(), datetime.now(UTC), [health] if self.failing else [])

    def _fold(self, version: Any) -> None:
        table, code = version.table, self._app.bundles.code(version)
        with self._app.open_log(table.log) as log:
            for group in range(table.group_count):
                epoch = self._app.control.next_epoch(table, group)
                with self._app.views.writer(table, group, epoch=epoch) as writer:
                    kernel = Kernel(code.view, events=code.events, load=writer.get_many, rows_max=1_000)
                    worker = FoldWorker(log, writer, kernel, pace=Pace(), waiter=None)
                    while worker.step():
                        pass
                    worker.finish()


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Burns with each write, and kills when it is burnt down."""

    def __init__(self, writes: int) -> None:
        self.writes_left = writes

    def burn(self) -> None:
        if self.writes_left == 0:
            raise Killed
        self.writes_left -= 1


class Fused:
    """A store whose writes burn a fuse."""

    def __init__(self, part: Any, fuse: Fuse, writes: Sequence[str]) -> None:
        self._part, self._fuse, self._writes = part, fuse, writes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        if name == "writer":
            return lambda *args, **options: Fused(method(*args, **options), self._fuse, ["commit"])
        if name not in self._writes:
            return method

        def write(*args: Any, **options: Any) -> Any:
            self._fuse.burn()
            return method(*args, **options)

        return write

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._part.close()


CONTROL_WRITES = (
    "deploy", "seeded", "retire", "change_release", "record", "advance_plan", "save_diff", "next_epoch",
)  # fmt: skip
STORE_WRITES = ("create", "drop")


class Pipeline:
    """Two views of a shop whose version 1 is primary, over events of ten days."""

    def __init__(self, folder: Path, app: App) -> None:
        self.folder, self.app = folder, app
        self.folding = Folding(app)

    def write(self, code: str) -> None:
        (self.folder / "shops.py").write_text(code)

    def plan(self, code: str, **options: Any) -> PlanRecord:
        self.write(code)
        return self.app.planner.plan(**options)[0]

    def plan_range(self, code: str, time_range: TimeRange) -> PlanRecord:
        self.write(code)
        return self.app.planner.plan_range("shop", time_range)[0]

    def applying(self, fuse: Fuse | None = None) -> Applying:
        control, store = self.app.control, self.app.views
        if fuse is not None:
            control, store = Fused(control, fuse, CONTROL_WRITES), Fused(store, fuse, STORE_WRITES)
        return Applying(
            control=control,
            store=store,
            open_log=self.app.open_log,
            load_code=self.app.bundles.code,
            runner=self.folding,
            releasing=type(self.app.releasing)(control=control, store=store, open_log=self.app.open_log, actor="ana"),
            actor="ana",
            pause=lambda _: None,
        )

    def apply(self, record: PlanRecord, *, promote: bool = True) -> Applied:
        return outcome(self.applying().walk(current_plan(self.app.control, record.number), promote=promote))

    def rows(self, view: str, version: int) -> list[tuple[Any, ...]]:
        table = self.app.control.versions(view)[version - 1].table
        return sorted(row.columns for row in self.app.views.scan(table))

    def state(self) -> Any:
        """Return everything that a plan changes, comparable."""
        control = self.app.control
        versions = [
            (v.table.name, v.fingerprint, v.seeded, v.seed_note, v.retired_at is not None, v.aborted)
            for v in control.versions()
        ]
        rows = {v.table.name: self.rows(v.table.view, v.table.version) for v in control.versions()}
        history = sorted((e.action, e.view or "", e.version or 0, e.detail) for e in control.history(limit=1_000))
        plans = [(plan.number, plan.state, plan.steps_done) for plan in control.plans()]
        return control.release(), versions, rows, history, plans


@contextmanager
def pipeline(folder: Path) -> Iterator[Pipeline]:
    folder.mkdir()
    (folder / "kappa.toml").write_text(SETTINGS)
    (folder / "shops.py").write_text(CODE)
    with App(load_settings(folder, environment_of(folder))) as app:
        app.events.append([sale(number) for number in range(60)])
        first = FirstVersions(folder, ["shops"], bundles=app.bundles, control=app.control, store=app.views)
        first.deploy(lambda: app.project, layout=app.layout, actor="ana")
        made = Pipeline(folder, app)
        made.folding.poll()
        yield made


@pytest.fixture
def shops(tmp_path: Path, storage: str) -> Iterator[Pipeline]:
    with pipeline(tmp_path / "shops") as made:
        yield made


def sale(number: int) -> NewRecord:
    at = START + timedelta(hours=4 * number)
    event = {"type": "Sold", "timestamp": at, "shop": f"shop {number % 5}", "cents": number}
    return NewRecord(event["shop"].encode(), msgspec.json.encode(event), int(at.timestamp() * 1_000_000))


def outcome(walk: Generator[StepAdvance, None, Applied]) -> Applied:
    while True:
        try:
            next(walk)
        except StopIteration as finished:
            return finished.value


def test_a_plan_stops_before_readers_would_see_anything(shops: Pipeline) -> None:
    record = shops.plan(BOTH)

    applied = shops.apply(record, promote=False)

    assert applied.waits_before == "promote shop v2, till v2"
    assert applied.state is PlanState.APPLYING
    assert shops.app.control.release().primaries == {"shop": 1, "till": 1}
    assert shops.app.control.diff("shop", 1, 2) is not None


def test_it_goes_on_where_it_stopped(shops: Pipeline) -> None:
    record = shops.plan(BOTH)
    shops.apply(record, promote=False)

    assert shops.apply(record).state is PlanState.APPLIED

    assert shops.app.control.release().primaries == {"shop": 2, "till": 2}
    assert shops.rows("shop", 2)[0] == ("shop 0", 12, sum(range(0, 60, 5)) - 12)


def test_events_that_arrive_meanwhile_are_in_both_versions(shops: Pipeline) -> None:
    record = shops.plan(NET)
    shops.apply(record, promote=False)
    shops.app.events.append([sale(number) for number in range(60, 70)])

    shops.apply(record)
    shops.folding.poll()

    assert [columns[1] for columns in shops.rows("shop", 1)] == [14] * 5
    assert [columns[1] for columns in shops.rows("shop", 2)] == [14] * 5


Scenario = Callable[[Pipeline], PlanRecord]
JANUARY_5 = TimeRange(START + timedelta(days=4), START + timedelta(days=5))


def an_earlier_candidate_is_replaced(shops: Pipeline) -> PlanRecord:
    shops.apply(shops.plan(NET), promote=False)
    return shops.plan(BOTH)


def a_former_is_displaced(shops: Pipeline) -> PlanRecord:
    shops.apply(shops.plan(NET))
    return shops.plan(BOTH)


SCENARIOS: dict[str, Scenario] = {
    "full": lambda shops: shops.plan(BOTH),
    "parallel": lambda shops: shops.plan(NET, strategy="parallel"),
    "incremental": lambda shops: shops.plan(NET, strategy="incremental", shares=(10, 50)),
    "migration": lambda shops: shops.plan(RENAMED),
    "range": lambda shops: shops.plan_range(NET, JANUARY_5),
    "an earlier candidate is replaced": an_earlier_candidate_is_replaced,
    "a former is displaced": a_former_is_displaced,
}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize(("storage", "every"), [(SQLITE, 1), (KAFKA_AND_POSTGRES, 7)], indirect=["storage"])
def test_killed_before_any_write_and_run_again_it_ends_in_the_same_state(
    tmp_path: Path, storage: str, every: int, scenario: Scenario
) -> None:
    """Before any write in files; elsewhere, where a pipeline takes a second, before every seventh."""
    with pipeline(tmp_path / "undisturbed") as undisturbed:
        assert undisturbed.apply(scenario(undisturbed)).state is PlanState.APPLIED
        expected = undisturbed.state()

    writes, killed = 0, True
    while killed:
        with pipeline(tmp_path / f"killed {writes}") as shops:
            record = scenario(shops)
            killed = False
            try:
                outcome(shops.applying(Fuse(writes)).walk(record, promote=True))
            except Killed:
                killed = True
            shops.apply(record)
            assert shops.state() == expected, f"killed before write {writes}"
        writes += every
    assert writes > record.steps_done + 1


def test_a_plan_is_stale_once_the_release_has_changed(shops: Pipeline) -> None:
    record = shops.plan(NET)
    shops.apply(shops.plan(NET))

    with pytest.raises(PlanStale, match="a later plan took its place"):
        shops.apply(record)


def test_a_plan_is_stale_once_somebody_promoted(shops: Pipeline) -> None:
    shops.apply(shops.plan(NET), promote=False)
    record = shops.plan(BOTH)
    outcome(shops.app.releasing.promote({"shop": 2}, wait_s=0))

    with pytest.raises(PlanStale, match="the release has changed") as refusal:
        shops.apply(record)

    assert refusal.value.next_step == "make a new one: kappa plan"
    assert [version.table.name for version in shops.app.control.versions("till")] == ["till__v1"]


def test_a_plan_whose_candidate_was_aborted_is_stale(shops: Pipeline) -> None:
    record = shops.plan(NET)
    shops.apply(record, promote=False)
    shops.app.releasing.abort("shop", 2)

    with pytest.raises(PlanStale, match="shop v2 was aborted or retired"):
        shops.apply(record)


def test_a_plan_that_waits_is_abandoned_when_the_next_one_begins(shops: Pipeline) -> None:
    first = shops.plan(NET)
    shops.apply(first, promote=False)
    shops.apply(shops.plan(BOTH), promote=False)

    assert [plan.state for plan in shops.app.control.plans()] == [PlanState.ABANDONED, PlanState.APPLYING]
    with pytest.raises(PlanStale):
        shops.apply(first)
    states = [(v.table.version, v.aborted) for v in shops.app.control.versions("shop")]
    assert states == [(1, False), (2, False)], "the candidate of the same code is used again"


def test_the_code_is_that_of_the_time_of_planning(shops: Pipeline) -> None:
    record = shops.plan(NET)
    (shops.folder / "shops.py").unlink()

    shops.apply(record)

    assert shops.rows("shop", 2)[0] == ("shop 0", 12, sum(range(0, 60, 5)) - 12)


def test_code_that_changed_since_the_plan_is_not_applied_unasked(shops: Pipeline) -> None:
    record = shops.plan(NET)
    shops.write(BOTH.replace("- 1)", "- 2)"))

    with App(shops.app.settings) as later, pytest.raises(PlanStale, match="shop has changed since") as refusal:
        later.refuse_changed_code(record)

    assert refusal.value.next_step is not None
    assert "kappa apply 1" in refusal.value.next_step


def test_a_candidate_that_breaks_an_expectation_is_not_promoted(shops: Pipeline) -> None:
    record = shops.plan(FEWER_SALES)

    with pytest.raises(ReleaseRefused, match="sales"):
        shops.apply(record)

    assert shops.app.control.release().primaries["shop"] == 1


def test_a_canary_that_does_not_pass_a_gate_loses_its_share(shops: Pipeline) -> None:
    """The diff was good, the share was given; then events arrive that the new code takes for no sales."""
    record = shops.plan(FEWER_SALES.replace("> 5", ">= 0"), strategy="incremental", shares=(10,))
    walk = shops.applying().walk(record, promote=True)
    while shops.app.control.release().canaries != {"shop": Canary(2, 10)}:
        next(walk)
    shops.app.events.append([REFUND])

    with pytest.raises(ReleaseRefused, match="its share was taken back"):
        outcome(walk)

    assert shops.app.control.release().canaries == {}
    assert [entry.action for entry in shops.app.control.history(limit=3)][:2] == ["shift", "shift"]


def test_a_share_that_was_taken_back_is_given_and_checked_again_before_a_larger_one(shops: Pipeline) -> None:
    code = FEWER_SALES.replace("> 5", ">= 0")
    record = shops.plan(code, strategy="incremental", shares=(10, 50))
    walk = shops.applying().walk(record, promote=True)
    while shops.app.control.release().canaries != {"shop": Canary(2, 10)}:
        next(walk)
    outcome(shops.app.releasing.shift("shop", {2: 0}, wait_s=0))
    walk.close()

    again = shops.applying().walk(current_plan(shops.app.control), promote=True)
    done = [step.text for step in again if step.complete]

    assert done == [
        "serve 10 % of the keys of shop from v2",
        "check shop v2 against v1",
        "serve 50 % of the keys of shop from v2",
        "check shop v2 against v1",
        "promote shop v2",
    ]


def test_a_share_that_is_taken_back_while_it_is_served_stops_the_plan(shops: Pipeline) -> None:
    record = shops.plan(NET, strategy="incremental", shares=(10, 50), pause=timedelta(hours=1))
    walk = shops.applying().walk(record, promote=True)
    while (step := next(walk)).advance is None or step.advance.unit != "s":
        pass
    outcome(shops.app.releasing.shift("shop", {2: 0}, wait_s=0))

    with pytest.raises(ReleaseRefused, match="does not serve 10 % of the keys any more") as refusal:
        outcome(walk)

    assert "kappa apply 1 --promote" in (refusal.value.next_step or "")
    assert shops.app.control.release().primaries["shop"] == 1


def test_a_share_that_is_given_again_is_checked_even_if_that_is_interrupted(shops: Pipeline) -> None:
    record = shops.plan(NET, strategy="incremental", shares=(10, 50))
    walk = shops.applying().walk(record, promote=True)
    while not (step := next(walk)).text.startswith("serve 50 %"):
        pass
    walk.close()
    outcome(shops.app.releasing.shift("shop", {2: 0}, wait_s=0))
    again = shops.applying().walk(current_plan(shops.app.control), promote=True)
    while not (step := next(again)).text.startswith("serve 10 %") or not step.complete:
        pass
    again.close()

    step = next(shops.applying().walk(current_plan(shops.app.control), promote=True))

    assert step.text == "check shop v2 against v1"


def test_a_share_is_served_for_the_pause_before_it_is_checked(shops: Pipeline) -> None:
    record = shops.plan(NET, strategy="incremental", shares=(50,), pause=timedelta(seconds=0.5))
    began = time.monotonic()
    steps = list(shops.applying().walk(record, promote=True))

    assert time.monotonic() - began >= 0.5
    assert next(step.advance.unit for step in steps if "after 1 s, check shop" in step.text and step.advance) == "s"


def test_if_one_canary_does_not_pass_those_of_the_other_views_lose_their_shares_too(shops: Pipeline) -> None:
    """They are promoted together or not at all."""
    code = FEWER_SALES.replace("> 5", ">= 0").replace("maximum(Sold.cents)", "maximum(Sold.cents - 1)")
    walk = shops.applying().walk(shops.plan(code, strategy="incremental", shares=(10,)), promote=True)
    while shops.app.control.release().canaries != {"shop": Canary(2, 10), "till": Canary(2, 10)}:
        next(walk)
    shops.app.events.append([REFUND])

    with pytest.raises(ReleaseRefused, match="the shares of all the plan's views were taken back") as refusal:
        outcome(walk)

    assert (refusal.value.view, shops.app.control.release().canaries) == ("shop", {})


def test_a_candidate_whose_diff_is_bad_is_given_no_share(shops: Pipeline) -> None:
    record = shops.plan(FEWER_SALES, strategy="incremental", shares=(10,))

    with pytest.raises(ReleaseRefused, match="breaks what is expected of it"):
        shops.apply(record)

    assert [entry for entry in shops.app.control.history(limit=10) if entry.action == "shift"] == []


def test_a_walk_ends_when_its_candidate_is_aborted_meanwhile(shops: Pipeline) -> None:
    record = shops.plan(NET)
    shops.folding.poll = lambda: None  # it never catches up
    walk = shops.applying().walk(record, promote=False)
    while (step := next(walk)).advance is None:
        assert not step.text.startswith("diff")
    shops.app.releasing.abort("shop", 2)

    with pytest.raises(VersionNotFound, match="shop v2 was aborted"):
        outcome(walk)


def test_what_a_rollback_returns_to_since_the_plan_was_made_is_not_retired_by_it(shops: Pipeline) -> None:
    shops.apply(shops.plan(NET))
    record = shops.plan(BOTH.replace("- 1)", "- 2)"))
    shops.apply(record, promote=False)
    outcome(shops.app.releasing.rollback(["shop"], wait_s=0))
    for _ in shops.app.diff("shop", 1, 3, samples_max=0, keys_about=None):
        pass

    shops.apply(record)

    assert shops.app.control.release().formers["shop"].version == 1
    assert outcome(shops.app.releasing.rollback(["shop"], wait_s=0)).restored == {"shop": 1}


def test_a_candidate_that_cannot_be_folded_stops_the_plan_and_nothing_else(shops: Pipeline) -> None:
    shops.folding.failing = "shop__v2"
    record = shops.plan(NET)

    with pytest.raises(WorkerFailed, match="its code cannot be imported") as refusal:
        shops.apply(record)

    assert refusal.value.next_step is not None
    assert "kappa abort shop v2" in refusal.value.next_step
    assert shops.app.control.release().primaries == {"shop": 1, "till": 1}


def test_a_plan_that_was_not_reviewed_is_not_finished(shops: Pipeline) -> None:
    record = shops.plan(NET)
    with pytest.raises(InputError, match="plan 1 has not come to its review yet: 0 of the 3 steps before it are done"):
        reviewed_plan(shops.app.control)

    shops.apply(record, promote=False)

    assert reviewed_plan(shops.app.control).number == 1


def test_a_plan_that_promotes_nothing_is_not_finished_by_promoting(shops: Pipeline) -> None:
    shops.plan(NET, strategy="parallel")

    with pytest.raises(InputError, match="plan 1 promotes nothing") as refusal:
        reviewed_plan(shops.app.control)

    assert refusal.value.next_step == "compare, then choose: kappa promote shop v2"


def test_a_plan_whose_promotion_was_rolled_back_is_not_finished_once_more(shops: Pipeline) -> None:
    shops.apply(shops.plan(NET))
    assert reviewed_plan(shops.app.control).state is PlanState.APPLIED
    outcome(shops.app.releasing.rollback(wait_s=0))

    with pytest.raises(InputError, match="plan 1 is applied already, but shop is served from v1 since") as refusal:
        reviewed_plan(shops.app.control)

    assert refusal.value.next_step == "if its versions are wanted again: kappa promote shop v2"


def test_plans_of_different_views_wait_side_by_side_and_each_is_promoted_by_its_number(shops: Pipeline) -> None:
    shops.apply(shops.plan(NET), promote=False)
    shops.apply(shops.plan(BOTH, views=["till"]), promote=False)

    with pytest.raises(InputError, match="plan 1 for shop, plan 2 for till") as refusal:
        reviewed_plan(shops.app.control)
    assert refusal.value.next_step == "say which one: kappa apply 2 --promote"

    shops.apply(current_plan(shops.app.control, 2))
    shops.apply(reviewed_plan(shops.app.control))

    assert shops.app.control.release().primaries == {"shop": 2, "till": 2}


def test_a_plan_whose_candidate_was_given_up_or_promoted_by_hand_waits_no_longer(shops: Pipeline) -> None:
    shops.apply(shops.plan(NET), promote=False)
    shops.apply(shops.plan(BOTH, views=["till"]), promote=False)

    shops.app.releasing.abort("shop", 2)
    assert reviewed_plan(shops.app.control).number == 2

    outcome(shops.app.releasing.promote({"till": 2}, wait_s=0))
    assert waiting_plans(shops.app.control) == []


def test_without_a_number_a_plan_before_the_newest_is_never_meant(shops: Pipeline) -> None:
    """Or whoever repeats a command would promote what nobody has looked at."""
    shops.apply(shops.plan(NET), promote=False)
    shops.apply(shops.plan(BOTH, views=["till"]))

    newest = current_plan(shops.app.control)

    assert (newest.number, newest.state) == (2, PlanState.APPLIED)
    assert [each.number for each in waiting_plans(shops.app.control)] == [1]


def test_a_plan_that_takes_the_place_of_another_says_so_and_that_one_goes_no_further(shops: Pipeline) -> None:
    first = shops.plan(NET)
    walk = shops.applying().walk(first, promote=True)
    next(walk)

    steps = [step.text for step in shops.applying().walk(shops.plan(NET.replace("- 1)", "- 2)")), promote=False)]

    assert steps[0] == "give up plan 1, which this one takes the place of"
    with pytest.raises(PlanStale, match="a later plan took its place"):
        outcome(walk)
    assert shops.app.control.plan(1).state is PlanState.ABANDONED
    assert shops.app.control.release().primaries["shop"] == 1
    shops.apply(reviewed_plan(shops.app.control))
    assert current_plan(shops.app.control).state is PlanState.APPLIED  # and not the one that was given up


def test_a_plan_of_another_release_of_kappa_is_stale(shops: Pipeline) -> None:
    record = shops.app.control.add_plan(b'{"format": 0}', actor="ana")

    with pytest.raises(PlanStale, match="another release of kappa made it"):
        shops.apply(record)


def test_what_is_expected_of_a_candidate_is_loosened_by_another_plan_without_a_replay(shops: Pipeline) -> None:
    with pytest.raises(ReleaseRefused, match="sales"):
        shops.apply(shops.plan(FEWER_SALES))
    code = FEWER_SALES.replace('"unchanged"', '"changes in at most 100 %"')

    shops.apply(shops.plan(code))

    assert shops.app.control.release().primaries["shop"] == 2


def test_a_diff_from_before_expectations_changed_speaks_for_nobody(shops: Pipeline) -> None:
    shops.apply(shops.plan(NET), promote=False)
    version = shops.app.control.versions("shop")[1]
    deployment = {name: getattr(version, name) for name in Deployment.__struct_fields__}
    shops.app.control.deploy(Deployment(**deployment | {"expectations": {"turnover": "unchanged"}}))

    with pytest.raises(ReleaseRefused, match="before what is expected of it changed"):
        outcome(shops.app.releasing.promote({"shop": 2}, wait_s=0))


def test_a_candidate_whose_handler_raises_on_old_events_is_not_promoted_unless_forced(shops: Pipeline) -> None:
    with pytest.raises(ReleaseRefused, match="sets aside 10 events that v1 does not: kappa dlq list"):
        shops.apply(shops.plan(RAISING))
    assert shops.app.control.release().primaries["till"] == 1

    outcome(shops.app.releasing.promote({"till": 2}, wait_s=0, force=True))

    assert shops.app.control.release().primaries["till"] == 2


def test_a_migration_that_was_mended_is_made_anew(shops: Pipeline) -> None:
    with pytest.raises(SeedRefused, match="from_1"):
        shops.apply(shops.plan(MIGRATED.replace("max(0, ", "max(None, ")))

    shops.apply(shops.plan(MIGRATED))

    states = [(v.table.version, v.aborted) for v in shops.app.control.versions("shop")]
    assert (states, shops.app.control.release().primaries["shop"]) == ([(1, False), (2, True), (3, False)], 3)


def test_code_that_counts_for_a_range_is_counted_for_all_events_if_its_view_is_planned_by_name(shops: Pipeline) -> None:
    shops.apply(shops.plan_range(NET, JANUARY_5))

    shops.apply(shops.plan(NET, views=["shop"]))

    assert shops.rows("shop", 3)[0] == ("shop 0", 12, sum(range(0, 60, 5)) - 12)


@on(KAFKA)
def test_a_plan_of_a_range_says_what_was_not_looked_at(
    tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAPPA_LOG_AHEAD_MAX", "1ms")
    with pipeline(tmp_path / "shops") as shops:
        start_us = time.time_ns() // 1_000 + 2_000
        eventually(lambda: time.time_ns() // 1_000 > start_us)
        shops.app.events.append([msgspec.structs.replace(sale(60), event_time_us=start_us)])
        shops.write(NET)
        _, plan = shops.app.planner.plan_range("shop", TimeRange(time_of(start_us), None))

    reasons = plan.views[0].reasons
    assert "the range holds 1 events of 1 keys" in reasons
    assert any(reason.startswith("~60 events that were appended before it were not looked at") for reason in reasons)


def test_without_a_plan_there_is_nothing_to_apply(shops: Pipeline) -> None:
    with pytest.raises(PlanNotFound, match="there is no plan"):
        current_plan(shops.app.control)
    with pytest.raises(PlanNotFound, match="there is no plan 7"):
        current_plan(shops.app.control, 7)
