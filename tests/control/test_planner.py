"""Planning from a project's code, its stores and its log: what is gathered, kept and refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kappa.adapters.sqlite.control import SqliteControl
from kappa.adapters.sqlite.log import SqliteLogs
from kappa.adapters.sqlite.views import SqliteViews
from kappa.control.bundles import Bundles
from kappa.control.history import new_entry
from kappa.control.planner import Planner
from kappa.control.ranges import TimeRange, time_us
from kappa.control.versions import LogLayout
from kappa.errors import InputError, ProjectError, SeedRefused, ViewNotFound
from kappa.model.records import NewRecord
from kappa.planning.changes import ChangeKind
from kappa.planning.plans import Plan
from kappa.planning.steps import Deploy, MakeSeed
from kappa.ports import PlanState, Release

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CODE = """
from decimal import Decimal
from kappa import Event, View, count, latest, on, total

def rounded(amount):
    return round(amount, 2)

class Sold(Event):
    shop: str
    product: str
    amount: Decimal

class Shop(View, key="shop"):
    sales: int = count(Sold)
    product: str | None = latest(Sold.product)
    turnover: Decimal = Decimal(0)

    @on(Sold)
    def sold(self, event: Sold) -> None:
        self.turnover += rounded(event.amount)

class Product(View, key="product"):
    sales: int = count(Sold)
"""


class Pipeline:
    """A project whose views have version 1, over the events of ten days."""

    def __init__(self, folder: Path, opened: ExitStack, *, events: int = 1_000) -> None:
        self.folder = folder
        self.control = opened.enter_context(closing(SqliteControl(folder / ".kappa" / "control.db")))
        self.store = opened.enter_context(closing(SqliteViews(folder / ".kappa" / "views")))
        self.logs = SqliteLogs(folder / ".kappa" / "logs")
        self.log = opened.enter_context(self.logs.open("events", partition_count=2))
        self.planner = Planner(
            folder,
            ["shop"],
            bundles=Bundles(folder / ".kappa" / "bundles", self.control),
            control=self.control,
            store=self.store,
            logs=self.logs,
            layout=LogLayout("shop", 2, group_count=1),
            actor="ana",
            warnings=lambda _: (),
        )
        self.write(CODE)
        self.log.append([sale(number) for number in range(events)])

    def write(self, code: str) -> None:
        (self.folder / "shop.py").write_text(code)

    def change(self, old: str, new: str) -> None:
        code = (self.folder / "shop.py").read_text()
        assert old in code, old
        self.write(code.replace(old, new))

    def deploy(self, plan: Plan | None = None) -> None:
        """Deploy what a plan would, and make it primary."""
        if plan is None:
            _, plan = self.planner.plan()
        made = [step.deployment.table for step in plan.steps if isinstance(step, Deploy)]
        for step in plan.steps:
            if isinstance(step, Deploy):
                table = step.deployment.table
                self.control.deploy(step.deployment)
                self.store.create(table)
                if step.deployment.seed is not None:
                    epochs = {0: self.control.next_epoch(table, 0)}
                    self.control.seeded(table, epochs=epochs, position={}, note="")
        release = self.control.release()
        primaries = {**release.primaries, **{table.view: table.version for table in made}}
        self.control.change_release(
            Release(release.revision + 1, primaries),
            expected_revision=release.revision,
            entry=new_entry("ana", "deploy"),
        )


def sale(number: int) -> NewRecord:
    """One of a thousand sales in the first ten days of 2026, of twenty shops."""
    at = START + number * DAY / 100
    value = f'{{"type":"Sold","shop":"s{number % 20}","product":"p{number % 3}","timestamp":"{at.isoformat()}",'
    return NewRecord(f"s{number % 20}".encode(), f'{value}"amount":"{number}.125"}}'.encode(), time_us(at))


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with ExitStack() as opened:
        yield Pipeline(tmp_path, opened)


@pytest.fixture
def deployed(pipeline: Pipeline) -> Pipeline:
    pipeline.deploy()
    return pipeline


def kinds(plan: Plan) -> dict[str, ChangeKind]:
    return {view.view: view.kind for view in plan.views}


def test_a_plan_is_kept_as_it_was_made(deployed: Pipeline) -> None:
    deployed.change("count(Sold)\n    product", "count(Sold, where=Sold.amount > 1)\n    product")
    record, plan = deployed.planner.plan()

    kept = deployed.control.plan(record.number)
    assert kept is not None
    assert msgspec.json.decode(kept.document, type=Plan) == plan
    assert (kept.state, kept.actor) == (PlanState.PLANNED, "ana")
    assert deployed.control.history(limit=1)[0].detail == f"plan {record.number}, full: shop v2"


def test_a_plan_holds_the_code_of_its_time(deployed: Pipeline) -> None:
    deployed.change("round(amount, 2)", "round(amount, 1)")
    _, plan = deployed.planner.plan()
    deployed.write("broken (")

    step = next(step for step in plan.steps if isinstance(step, Deploy))
    view = Bundles(deployed.folder / "elsewhere", deployed.control).code(step.deployment).view
    assert str(view.fold([{"type": "Sold", "shop": "s", "product": "p", "amount": "1.25"}])) == (
        "Shop(shop='s', sales=1, product='p', turnover=Decimal('1.2'))"
    )


def test_a_first_plan_deploys_every_view(pipeline: Pipeline) -> None:
    _, plan = pipeline.planner.plan()

    assert kinds(plan) == {"product": ChangeKind.NEW, "shop": ChangeKind.NEW}
    assert pipeline.logs.names() == ["events"]  # making a plan writes no log


def test_code_that_has_not_changed_needs_nothing(deployed: Pipeline) -> None:
    record, plan = deployed.planner.plan()

    assert (plan.steps, set(kinds(plan).values())) == ((), {ChangeKind.UNCHANGED})
    assert deployed.control.history(limit=1)[0].detail == f"plan {record.number}, full: nothing to do"


def test_the_reasons_name_the_helper_and_the_handler_that_runs_it(deployed: Pipeline) -> None:
    deployed.change("round(amount, 2)", "round(amount, 1)")
    _, plan = deployed.planner.plan()

    assert plan.views[1].reasons[0] == "code shop.rounded has changed, which handler sold runs"
    assert kinds(plan) == {"product": ChangeKind.METADATA_ONLY, "shop": ChangeKind.REPLAY}


def test_a_new_field_with_a_default_needs_no_replay(deployed: Pipeline) -> None:
    deployed.change("    turnover:", '    city: str = "none"\n    turnover:')
    _, plan = deployed.planner.plan(["shop"])

    assert plan.views[0].kind is ChangeKind.MIGRATE
    assert MakeSeed("shop", 2, 1) in plan.steps


def test_the_estimate_is_measured_on_the_log(deployed: Pipeline) -> None:
    deployed.change("round(amount, 2)", "round(amount, 1)")
    _, plan = deployed.planner.plan(["shop"])

    estimate = plan.views[0].estimate
    assert estimate is not None
    assert (estimate.events, estimate.size_bytes) == (1_000, deployed.log.size_bytes())
    assert estimate.replay_rate > 1_000
    assert estimate.seconds is not None
    # All were appended a moment ago.
    assert estimate.arrival_rate > 1


def test_a_view_with_another_key_is_measured_on_the_event_log_until_its_own_is_written(deployed: Pipeline) -> None:
    deployed.change(
        'class Product(View, key="product"):\n    sales: int = count(Sold)',
        'class Product(View, key="product"):\n    sales: int = count(Sold, where=Sold.amount > 1)',
    )
    _, plan = deployed.planner.plan(["product"])

    estimate = plan.views[0].estimate
    assert estimate is not None
    assert estimate.events == 1_000
    assert estimate.replay_rate > 1_000


def test_an_empty_log_can_be_planned_for(tmp_path: Path) -> None:
    with ExitStack() as opened:
        _, plan = Pipeline(tmp_path, opened, events=0).planner.plan(["shop"])

    assert (len(plan.steps), plan.views[0].estimate) == (2, None)


def test_a_view_that_reads_a_clock_is_refused_and_nobody_can_apply_that(deployed: Pipeline) -> None:
    deployed.change("    return round(amount, 2)", "    import time\n    return amount + int(time.time())")
    record, plan = deployed.planner.plan()

    assert (plan.steps, [view.view for view in plan.refused]) == ((), ["shop"])
    assert "reads the clock: time.time (shop.py:7, in shop.rounded): a replay would" in plan.views[1].reasons[-1]
    kept = deployed.control.plan(record.number)
    assert kept is not None
    assert kept.state is PlanState.ABANDONED


def test_a_view_that_left_the_code_is_mentioned(deployed: Pipeline) -> None:
    code = (deployed.folder / "shop.py").read_text()
    deployed.write(code.partition("class Product")[0])
    _, plan = deployed.planner.plan()

    assert kinds(plan) == {"shop": ChangeKind.METADATA_ONLY, "product": ChangeKind.GONE}


def test_code_that_cannot_be_imported_is_an_error_and_no_plan(deployed: Pipeline) -> None:
    before = len(deployed.control.plans())
    deployed.write("import nowhere_to_be_found")

    with pytest.raises(ProjectError, match="nowhere_to_be_found"):
        deployed.planner.plan()
    assert len(deployed.control.plans()) == before


def test_a_view_that_is_not_in_the_code_cannot_be_planned(deployed: Pipeline) -> None:
    with pytest.raises(InputError, match="no view 'shopp'"):
        deployed.planner.plan(["shopp"])


@pytest.mark.parametrize("shares", [(10, 1), (1, 1), (0, 50), (50, 101), (0.015, 50)])
def test_shares_that_do_not_rise_are_refused(deployed: Pipeline, shares: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="shares rise"):
        deployed.planner.plan(strategy="incremental", shares=shares)


def days(first: float, last: float | None) -> TimeRange:
    return TimeRange(START + first * DAY, None if last is None else START + last * DAY)


def test_a_range_is_a_seed_of_what_is_served(deployed: Pipeline) -> None:
    deployed.change(
        "sales: int = count(Sold)\n    product", "sales: int = count(Sold, where=Sold.amount > 1)\n    product"
    )
    _, plan = deployed.planner.plan_range("shop", days(2, 3))

    assert [type(step).__name__ for step in plan.steps] == ["Deploy", "MakeSeed", "CatchUp", "Compare", "Promote"]
    (deploy, *_) = plan.steps
    assert isinstance(deploy, Deploy)
    deployed.deploy(plan)
    with pytest.raises(InputError, match="v2 counts this code for another range already"):
        deployed.planner.plan_range("shop", days(4, 5))
    seed = deploy.deployment.seed
    assert seed is not None
    assert (seed.kind, seed.base, seed.start_us, seed.end_us) == (
        "range",
        1,
        time_us(START + 2 * DAY),
        time_us(START + 3 * DAY),
    )
    assert "the range holds 100 events of 20 keys" in plan.views[0].reasons


def test_a_migration_of_a_range_does_not_equal_a_replay_which_can_be_had(deployed: Pipeline) -> None:
    deployed.change(
        "sales: int = count(Sold)\n    product", "sales: int = count(Sold, where=Sold.amount > 1)\n    product"
    )
    _, ranged = deployed.planner.plan_range("shop", days(2, 3))
    deployed.deploy(ranged)
    deployed.change("    turnover:", '    city: str = "none"\n    turnover:')
    _, migrated = deployed.planner.plan(["shop"])
    deployed.deploy(migrated)
    _, replayed = deployed.planner.plan(["shop"])

    assert "the rows are brought into a new shape: city with its default" in migrated.views[0].reasons
    [deploy] = [step.deployment for step in replayed.steps if isinstance(step, Deploy)]
    assert (deploy.table.version, deploy.seed) == (4, None)


def test_a_correction_that_reads_everything_anyway_advises_a_full_replay(deployed: Pipeline) -> None:
    deployed.change("round(amount, 2)", "round(amount, 1)")
    _, plan = deployed.planner.plan_range("shop", days(2, None))

    assert any("prefer kappa plan shop" in reason for reason in plan.views[0].reasons)


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        (days(3, 2), "is not after its start"),
        (days(2, 2), "is not after its start"),
        (days(-9, -8), "outside the log: the log 'events' holds events from 2026-01-01 00:00:00 to 2026-01-10"),
        (days(20, 21), "outside the log"),
        (days(2, 100_000), "ends in the future"),
        (days(2.001, 2.002), "no event lies in the range"),
    ],
    ids=["reversed", "nothing", "before the log", "behind the log", "future", "empty"],
)
def test_a_range_that_cannot_be_is_refused(deployed: Pipeline, wanted: TimeRange, refusal: str) -> None:
    deployed.change("round(amount, 2)", "round(amount, 1)")

    with pytest.raises(InputError, match=refusal):
        deployed.planner.plan_range("shop", wanted)


def test_a_range_of_unchanged_code_would_change_nothing(deployed: Pipeline) -> None:
    with pytest.raises(InputError, match="would change nothing"):
        deployed.planner.plan_range("shop", days(2, 3))


def test_a_range_of_a_view_that_is_not_deployed_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ViewNotFound):
        pipeline.planner.plan_range("shop", days(2, 3))


def test_rows_that_cannot_be_corrected_are_refused(deployed: Pipeline) -> None:
    deployed.change("    turnover:", '    city: str = "none"\n    turnover:')

    with pytest.raises(SeedRefused, match="city is new"):
        deployed.planner.plan_range("shop", days(2, 3))
