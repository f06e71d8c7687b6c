"""The janitor: what goes after the grace period, what never does, and that it can be killed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control.served import Served

from kappa.adapters.sqlite.views import SqliteViews
from kappa.control.janitor import Janitor
from kappa.control.reading import read_query, read_row
from kappa.errors import StoreUnavailable
from kappa.planning.changes import ChangeKind
from kappa.planning.plans import Plan, ViewPlan
from kappa.planning.steps import Compare, Deploy, MakeSeed, Promote, Step
from kappa.ports import Deployment, PlanRecord, PlanState, Seed

AT = {0: 5, 1: 5}
GRACE = timedelta(days=7)
ROWS = ("carrier__v1",)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """`carrier` v2 is primary; v1, which it replaced, is retired."""
    served = Served(tmp_path)
    for version in (1, 2):
        served.deploy("carrier", version, AT)
    served.compare("carrier", 1, 2)
    served.serve({"carrier": 1})
    served.promote(carrier=2)
    served.releasing().retire("carrier", 1)
    yield served
    served.close()


def janitor(served: Served, *, grace: timedelta = GRACE) -> Janitor:
    return Janitor(
        control=served.control,
        store=served.store,
        forget_bundle=lambda bundle: (served.folder / f"forgot {bundle}").touch(),
        grace=grace,
        actor="ana",
    )


def later() -> datetime:
    """Return a time at which everything is older than the grace period."""
    return datetime.now(UTC) + GRACE + timedelta(minutes=1)


def plan(served: Served, *steps: Step, state: PlanState = PlanState.PLANNED, bundle: str = "") -> PlanRecord:
    document = Plan(1, "full", 1, {"carrier": 2}, bundle, (), steps)
    record = served.control.add_plan(msgspec.json.encode(document), actor="ana")
    served.control.advance_plan(record.number, steps_done=0, state=state)
    return record


def bundle_of(served: Served, version: int) -> str:
    return served.control.versions("carrier")[version - 1].bundle


def test_rows_and_code_of_a_retired_version_go_after_the_grace_period(served: Served) -> None:
    swept = janitor(served).run(later())

    assert (swept.tables, swept.bundles) == (ROWS, (bundle_of(served, 1),))
    assert swept.freed_bytes > 0
    first, second = served.control.versions("carrier")
    assert (first.dropped_at is not None, second.dropped_at) == (True, None)
    assert served.store.row_count(first.table) == 0
    assert [bundle.id for bundle in served.control.bundles()] == [second.bundle]
    assert (served.folder / f"forgot {first.bundle}").exists()
    assert served.control.history(limit=1)[0].action == "drop"
    assert not janitor(served).run(later())


def test_nothing_goes_before_that(served: Served) -> None:
    assert not janitor(served).run(datetime.now(UTC) + GRACE - timedelta(minutes=1))
    assert served.store.row_count(served.control.versions("carrier")[0].table) > 0


def test_a_dry_run_says_the_same_and_deletes_nothing(served: Served) -> None:
    shown = janitor(served).run(later(), dry_run=True)

    assert shown.tables == ROWS
    assert janitor(served).run(later()) == shown


def test_what_readers_a_rollback_or_a_comparison_need_stays(served: Served) -> None:
    served.deploy("carrier", 3, AT)
    served.deploy("carrier", 4, AT)
    served.compare("carrier", 2, 3)
    served.promote(carrier=3)
    served.shift("carrier", 4, 10)

    assert janitor(served).run(later()).tables == ROWS
    dropped = [version.dropped_at is not None for version in served.control.versions("carrier")]
    assert dropped == [True, False, False, False]


def test_rows_of_which_a_seed_is_being_made_stay(served: Served) -> None:
    served.deploy("carrier", 3, seed=Seed("range", base=1))

    assert not janitor(served).run(later())

    served.releasing().abort("carrier", 3)
    assert janitor(served).run(later() + GRACE).tables == ("carrier__v1", "carrier__v3")


def test_the_code_that_a_seed_was_made_by_stays_as_long_as_its_rows(served: Served) -> None:
    table = served.deploy("carrier", 3, seed=Seed("range", base=1)).table
    served.control.seeded(table, epochs={0: served.control.next_epoch(table, 0)}, position=AT, note="")

    swept = janitor(served).run(later())

    assert (swept.tables, swept.bundles) == (ROWS, ())


@pytest.mark.parametrize("step", [Compare("carrier", 1, 2), MakeSeed("carrier", 3, 1), Promote({"carrier": 1})])
def test_what_a_plan_names_stays_while_it_is_applied(served: Served, step: Step) -> None:
    record = plan(served, step, state=PlanState.APPLYING)

    assert not janitor(served).run(later())

    served.control.advance_plan(record.number, steps_done=1, state=PlanState.APPLIED)
    swept = janitor(served).run(later())
    assert (swept.tables, swept.plans) == (ROWS, (record.number,))


def test_a_plan_whose_candidate_was_given_up_keeps_nothing_and_goes(served: Served) -> None:
    served.deploy("carrier", 3, AT)
    document = Plan(
        1, "full", 1, {}, "", (ViewPlan("carrier", ChangeKind.REPLAY, 2, 3, ()),), (Compare("carrier", 2, 3),)
    )
    record = served.control.add_plan(msgspec.json.encode(document), actor="ana")
    served.control.advance_plan(record.number, steps_done=1, state=PlanState.APPLYING)

    served.releasing().abort("carrier", 3)

    swept = janitor(served).run(later())
    assert (swept.tables, swept.plans) == (("carrier__v1", "carrier__v3"), (record.number,))


def test_a_deployment_that_is_planned_keeps_the_rows_of_its_seed(served: Served) -> None:
    first = served.control.versions("carrier")[0]
    table = msgspec.structs.replace(first.table, version=3)
    plan(served, Deploy(Deployment(table, "f", {}, first.bundle, Seed("range", 1))), state=PlanState.APPLYING)

    assert not janitor(served).run(later())


def test_the_code_of_a_plan_stays_as_long_as_the_plan(served: Served) -> None:
    bundle = served.control.store_bundle(b"planned").id
    record = plan(served, bundle=bundle, state=PlanState.APPLYING)

    assert bundle not in janitor(served).run(later()).bundles

    served.control.advance_plan(record.number, steps_done=0, state=PlanState.ABANDONED)
    assert bundle in janitor(served).run(later()).bundles


def test_while_a_plan_that_cannot_be_read_may_go_on_no_row_and_no_code_goes(served: Served) -> None:
    """Another release of kappa made it."""
    old = served.control.add_plan(b'{"format": 2}', actor="ana")
    served.control.advance_plan(old.number, steps_done=0, state=PlanState.ABANDONED)
    unknown = served.control.add_plan(b'{"format": 2, "steps": [{"step": "fly"}]}', actor="ana")
    served.control.advance_plan(unknown.number, steps_done=0, state=PlanState.APPLYING)

    swept = janitor(served).run(later())

    assert (swept.tables, swept.bundles, swept.plans) == ((), (), (old.number,))

    served.control.advance_plan(unknown.number, steps_done=0, state=PlanState.ABANDONED)
    assert janitor(served).run(later()).tables == ROWS


@pytest.mark.parametrize("state", [PlanState.PLANNED, PlanState.APPLIED, PlanState.ABANDONED])
def test_an_old_plan_goes(served: Served, state: PlanState) -> None:
    record = plan(served, state=state)

    assert janitor(served).run(datetime.now(UTC)).plans == ()
    assert janitor(served).run(later()).plans == (record.number,)
    assert served.control.plans() == []


def test_code_that_was_stored_just_now_stays(served: Served) -> None:
    """Its plan may not be recorded yet."""
    bundle = served.control.store_bundle(b"planned").id

    assert bundle not in janitor(served).run(datetime.now(UTC)).bundles


def test_a_janitor_that_was_killed_goes_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between deleting the rows and noting it: the worst moment."""

    def killed(*_: object) -> None:
        raise StoreUnavailable(store="control.db", cause="killed")

    with monkeypatch.context() as patch:
        patch.setattr(served.control, "dropped", killed)
        with pytest.raises(StoreUnavailable):
            janitor(served).run(later())
    assert served.control.versions("carrier")[0].dropped_at is None

    assert janitor(served).run(later()).tables == ROWS
    assert served.control.versions("carrier")[0].dropped_at is not None


class Interrupted:
    """A view store in which something happens once, right before the first read of rows."""

    def __init__(self, store: SqliteViews, happens: Callable[[], None]) -> None:
        self._store, self._happens = store, [happens]

    def __getattr__(self, name: str) -> Any:
        if name in ("get", "query") and self._happens:
            self._happens.pop()()
        return getattr(self._store, name)


@pytest.mark.parametrize("read", ["row", "query"])
def test_readers_miss_nothing_though_what_they_are_about_to_read_is_deleted(served: Served, read: str) -> None:
    """No grace at all: a version is gone as soon as two promotions have passed."""

    def two_promotions_pass() -> None:
        for version in (3, 4):
            served.deploy("carrier", version, AT)
            served.promote(carrier=version, force=True)
        assert "carrier__v2" in janitor(served, grace=timedelta(0)).run(datetime.now(UTC)).tables

    store: Any = Interrupted(served.store, two_promotions_pass)
    if read == "row":
        assert read_row("carrier", ["UA"], control=served.control, views=store).version == 4
    else:
        sql = "SELECT DISTINCT made_by FROM carrier"
        answer = read_query(sql, control=served.control, views=store, rows_max=9, timeout_s=9)
        assert answer.rows == [(4,)]
