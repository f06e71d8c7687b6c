"""What a plan does about each kind of change, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning.facts import LOG, NEW, OLD, deployed, facts, in_code, migration, released, steps, table

from kappa.model.schema import Column, ColumnType
from kappa.planning.changes import ChangeKind
from kappa.planning.facts import SeedOffer
from kappa.planning.plans import Plan
from kappa.planning.steps import Deploy, Promote, Retire, Shift
from kappa.planning.strategies import build_plan
from kappa.ports import Canary, Former, Release, Seed

FULL = ["deploy carrier v2", "catch up carrier v2", "diff carrier v1 v2", "promote carrier v2"]


def test_changed_code_is_replayed_compared_and_promoted() -> None:
    plan = build_plan(facts(deployed(1)))

    assert steps(plan) == FULL
    (view,) = plan.views
    assert (view.kind, view.primary, view.candidate) == (ChangeKind.REPLAY, 1, 2)
    assert view.reasons[0] == "fold flights: count(Departed) is now count(Departed where (Departed.delay > 15))"
    assert (plan.revision, plan.versions, plan.bundle) == (7, {"carrier": 1}, "b2")


def test_a_deploy_step_holds_all_that_makes_the_version() -> None:
    deploy = build_plan(facts(deployed(1), code=in_code(expectations={"rows": "unchanged"}))).steps[0]

    assert isinstance(deploy, Deploy)
    made = deploy.deployment
    assert (made.table, made.parts, made.bundle) == (table(version=2), NEW, "b2")
    assert (made.seed, made.expectations) == (None, {"rows": "unchanged"})


def test_unchanged_code_needs_nothing() -> None:
    plan = build_plan(facts(deployed(1, NEW, bundle="b2")))

    assert (plan.steps, plan.views[0].kind, plan.views[0].reasons) == ((), ChangeKind.UNCHANGED, ())


@pytest.mark.parametrize(
    ("expectations", "reason"),
    [
        ({}, "only code that it does not fold with has changed"),
        ({"rows": "unchanged"}, "what is expected of its next version has changed; that folds nothing"),
    ],
)
def test_what_folds_nothing_needs_nothing(expectations: dict[str, str], reason: str) -> None:
    plan = build_plan(facts(deployed(1, NEW), code=in_code(expectations=expectations)))

    assert (plan.steps, plan.views[0].kind, plan.views[0].reasons) == ((), ChangeKind.METADATA_ONLY, (reason,))


def test_the_first_version_is_deployed_and_compared_with_nothing() -> None:
    plan = build_plan(facts(primary=None))

    assert steps(plan) == ["deploy carrier v1", "catch up carrier v1"]
    assert plan.views[0].kind is ChangeKind.NEW


def test_a_first_version_that_was_deployed_and_never_served_is_deployed_again_as_it_is() -> None:
    """Its deployment makes it primary; equal deployments are one version."""
    plan = build_plan(facts(deployed(1, NEW), primary=None))

    assert steps(plan) == ["deploy carrier v1", "catch up carrier v1"]
    assert isinstance(plan.steps[0], Deploy)
    assert plan.steps[0].deployment.bundle == "b1"


def test_a_view_that_is_gone_from_the_code_keeps_running_and_the_plan_says_how_to_end_that() -> None:
    plan = build_plan(facts(deployed(1), views={}, gone=("carrier",)))

    assert (plan.steps, plan.views[0].kind) == ((), ChangeKind.GONE)
    assert "kappa retire carrier --all" in plan.views[0].reasons[0]


def test_a_seed_replaces_the_replay() -> None:
    code = in_code(seed=SeedOffer(migration(), "field city is new and begins with its default"))
    plan = build_plan(facts(deployed(1), code=code))

    assert steps(plan) == [FULL[0], "make the seed of carrier v2 from v1", *FULL[1:]]
    (view,) = plan.views
    assert (view.kind, view.estimate) == (ChangeKind.MIGRATE, None)
    assert view.reasons[-1] == "field city is new and begins with its default"


def test_the_plan_says_why_no_seed_can_be_made() -> None:
    plan = build_plan(facts(deployed(1), code=in_code(seed="fold flights has changed: its history is in the log")))

    assert plan.views[0].reasons[-1] == "the log is replayed: fold flights has changed: its history is in the log"


def test_a_candidate_with_this_code_is_used_and_not_deployed_again() -> None:
    plan = build_plan(facts(deployed(1), deployed(2, NEW)))

    assert steps(plan) == FULL[1:]
    assert plan.views[0].reasons[-1] == "v2 has this code already, so nothing is deployed"


def test_a_candidate_with_another_seed_is_not_the_same() -> None:
    code = in_code(seed=SeedOffer(migration(), ""))
    plan = build_plan(facts(deployed(1), deployed(2, NEW), code=code))

    assert steps(plan)[:3] == ["abort carrier v2", "deploy carrier v3", "make the seed of carrier v3 from v1"]


def test_a_seed_that_was_interrupted_is_made_again() -> None:
    code = in_code(seed=SeedOffer(migration(), ""))
    interrupted = deployed(2, NEW, seed=migration(), seeded=False, bundle="b2")
    plan = build_plan(facts(deployed(1), interrupted, code=code))

    assert steps(plan) == ["make the seed of carrier v2 from v1", *FULL[1:]]


@pytest.mark.parametrize("seeded", [True, False])
def test_a_migration_by_other_code_gives_way_for_its_function_may_be_what_was_mended(seeded: bool) -> None:
    code = in_code(seed=SeedOffer(migration(), ""))
    plan = build_plan(facts(deployed(1), deployed(2, NEW, seed=migration(), seeded=seeded, bundle="b1"), code=code))

    assert steps(plan)[:3] == ["abort carrier v2", "deploy carrier v3", "make the seed of carrier v3 from v1"]


def test_what_is_expected_of_a_candidate_can_change_without_another_replay() -> None:
    code = in_code(expectations={"flights": "unchanged"})
    plan = build_plan(facts(deployed(1), deployed(2, NEW, bundle="b1"), code=code))

    assert steps(plan) == FULL
    assert isinstance(plan.steps[0], Deploy)
    deployment = plan.steps[0].deployment
    assert (deployment.bundle, deployment.expectations) == ("b1", {"flights": "unchanged"})
    assert plan.views[0].reasons[-1] == "v2 has this code already; what is expected of it is new"
    assert plan.views[0].estimate is None


def test_candidates_with_other_code_give_way() -> None:
    plan = build_plan(facts(deployed(1), deployed(2, {"key": "x"})))

    assert steps(plan)[:2] == ["abort carrier v2", "deploy carrier v3"]


def test_retired_versions_are_left_alone_and_their_numbers_are_not_used_again() -> None:
    retired = deployed(2, NEW, retired_at=deployed(1).created_at)

    assert steps(build_plan(facts(deployed(1), retired)))[0] == "deploy carrier v3"


def test_the_former_primary_is_used_again_if_it_has_this_code_and_a_rollback_is_the_faster_way() -> None:
    given_facts = released(facts(deployed(1, NEW), deployed(2), primary=2), formers={"carrier": Former(1, {}, 7)})
    plan = build_plan(given_facts)

    assert steps(plan) == ["catch up carrier v1", "diff carrier v2 v1", "promote carrier v1"]
    assert "kappa rollback carrier returns to it at once" in plan.views[0].reasons[-1]


def test_what_a_rollback_returned_to_is_retired_once_another_version_takes_its_place() -> None:
    plan = build_plan(
        released(facts(deployed(1, {"key": "x"}), deployed(2), primary=2), formers={"carrier": Former(1, {}, 7)})
    )

    assert steps(plan)[-2:] == ["promote carrier v3", "retire carrier v1"]


def test_a_candidate_that_serves_keys_must_be_decided_on_first() -> None:
    plan = build_plan(released(facts(deployed(1), deployed(2, {"key": "x"})), canaries={"carrier": Canary(2, 10)}))

    assert (plan.steps, plan.views[0].kind) == ((), ChangeKind.REFUSED)
    assert "v2 serves 10 % of the keys: first promote it" in plan.views[0].reasons[-1]


RANGE = Seed("range", 2, 0, 5)


def test_a_range_replay_is_not_what_a_rollback_returns_to_though_that_has_the_same_code() -> None:
    """v1 counts the code for all events."""
    code = in_code(seed=SeedOffer(RANGE, ""))
    given_facts = facts(deployed(1, NEW), deployed(2), primary=2, code=code, strategy="range")
    plan = build_plan(released(given_facts, formers={"carrier": Former(1, {}, 7)}))

    assert steps(plan)[:2] == ["deploy carrier v3", "make the seed of carrier v3 from v2"]


def test_a_version_that_counts_the_code_for_a_range_is_no_replay() -> None:
    plan = build_plan(
        released(
            facts(deployed(1, NEW, seed=RANGE), deployed(2), primary=2, code=in_code()),
            formers={"carrier": Former(1, {}, 7)},
        )
    )

    assert steps(plan)[0] == "deploy carrier v3"


def test_a_candidate_that_serves_keys_is_not_aborted_because_it_started_from_something_else() -> None:
    given_facts = facts(deployed(1), deployed(2, NEW, seed=Seed("range", 1, 0, 5)))
    plan = build_plan(released(given_facts, canaries={"carrier": Canary(2, 10)}))

    assert plan.views[0].kind is ChangeKind.REFUSED


def test_code_that_counts_for_a_range_only_is_replayed_if_its_view_is_named() -> None:
    primary = deployed(1, NEW, seed=Seed("range", 1, 0, 5), bundle="b2")
    unasked, asked = (build_plan(facts(primary, code=in_code(anew=anew))) for anew in (False, True))

    assert unasked.views[0].kind is ChangeKind.UNCHANGED
    assert unasked.views[0].reasons == (
        "v1 counts this code for a range of events; to count it for all: kappa plan carrier",
    )
    assert steps(asked) == FULL
    assert "a replay counts it for all of them" in asked.views[0].reasons[0]


def test_what_is_migrated_from_a_range_counts_for_a_range_too() -> None:
    ranged = deployed(2, NEW, seed=Seed("range", 1, 0, 5), retired_at=datetime(2026, 1, 2, tzinfo=UTC))
    migrated = deployed(3, NEW, seed=migration(2), bundle="b2")
    plan = build_plan(facts(ranged, migrated, primary=3, code=in_code()))

    assert plan.views[0].reasons == (
        "v3 counts this code for a range of events; to count it for all: kappa plan carrier",
    )


def test_a_migration_of_a_range_is_no_replay_to_go_back_to() -> None:
    ranged, migrated = deployed(1, seed=Seed("range", 1, 0, 5)), deployed(2, NEW, seed=migration(1))
    given_facts = facts(ranged, migrated, deployed(3), primary=3, code=in_code())
    plan = build_plan(released(given_facts, formers={"carrier": Former(2, {}, 7)}))

    assert steps(plan)[:2] == ["abort carrier v1", "deploy carrier v4"]


def test_a_migration_that_hands_a_range_on_says_so() -> None:
    offer = SeedOffer(migration(), "in a new shape")
    plan = build_plan(facts(deployed(1, seed=Seed("range", 1, 0, 5)), code=in_code(seed=offer)))

    assert (
        "v1 counts its code for a range of events only, and so will the new version; "
        "once that is served, kappa plan carrier counts it for all"
    ) in plan.views[0].reasons


def test_a_view_of_another_key_is_not_compared_or_promoted_with_the_others() -> None:
    other = msgspec.structs.replace(table(), key=(Column("airport", ColumnType.TEXT),))
    views = {"carrier": in_code(table=other), "route": in_code(view="route")}
    given_facts = facts(deployed(1), deployed(1, view="route"), views=views)
    plan = build_plan(released(given_facts, primaries={"carrier": 1, "route": 1}))

    assert steps(plan)[2:] == [
        "catch up carrier v2",
        "catch up route v2",
        "diff route v1 v2",
        "promote route v2",
    ]
    said = plan.views[0].reasons[-1]
    assert said.startswith("one is keyed by carrier (text), the other by airport (text): v1 and v2 cannot be compared")
    assert said.endswith("change over: kappa promote carrier v2 --force")


def test_a_pause_comes_once_before_the_checks_of_a_share() -> None:
    views = {"carrier": in_code(), "route": in_code(view="route")}
    given_facts = facts(deployed(1), deployed(1, view="route"), views=views, strategy="incremental", pause_s=600.0)
    plan = build_plan(released(given_facts, primaries={"carrier": 1, "route": 1}))

    assert [text for text in steps(plan) if "check" in text][:2] == [
        "after 10 min, check carrier v2 against v1",
        "check route v2 against v1",
    ]


def test_a_replay_that_ends_a_range_says_so() -> None:
    plan = build_plan(facts(deployed(1, seed=Seed("range", 1, 0, 5))))

    assert "v1 counts its code for a range of events only; a replay counts it for all of them" in plan.views[0].reasons


def test_unsound_code_is_refused() -> None:
    plan = build_plan(facts(deployed(1), code=in_code(unsound="time.time() reads a clock (flights.py:9, in late)")))

    assert (plan.steps, plan.views[0].kind) == ((), ChangeKind.REFUSED)
    assert plan.views[0].reasons[-1].startswith("time.time() reads a clock (flights.py:9, in late): a replay would")


def test_history_that_is_gone_is_refused_with_what_is_missing() -> None:
    logs = {"events": msgspec.structs.replace(LOG, starts={0: 500, 1: 0})}
    plan = build_plan(facts(deployed(1), code=in_code(seed="fold flights has changed"), logs=logs))

    (view,) = plan.views
    assert (plan.steps, view.kind, view.lost) == ((), ChangeKind.REFUSED, {0: 500})
    assert view.reasons[-1] == (
        "its replay needs history that the log 'events' no longer holds, offsets 0 to 499 of partition 0, "
        "and no seed can be made: fold flights has changed"
    )


def test_a_seed_needs_no_history() -> None:
    logs = {"events": msgspec.structs.replace(LOG, starts={0: 500, 1: 0})}
    plan = build_plan(facts(deployed(1), code=in_code(seed=SeedOffer(migration(), "")), logs=logs))

    assert (len(plan.steps), plan.views[0].kind) == (5, ChangeKind.MIGRATE)


def test_one_refused_view_stops_the_plan_for_all() -> None:
    views = {"carrier": in_code(), "route": in_code(view="route", unsound="it reads a clock")}
    plan = build_plan(facts(deployed(1), deployed(1, view="route"), views=views))

    assert plan.steps == ()
    assert [view.view for view in plan.refused] == ["route"]


def test_several_views_replay_together_and_are_promoted_at_one_moment() -> None:
    views = {"carrier": in_code(), "route": in_code(view="route")}
    both = facts(deployed(1), deployed(1, view="route"), views=views, release=Release(7, {"carrier": 1, "route": 1}))

    assert steps(build_plan(both)) == [
        "deploy carrier v2",
        "deploy route v2",
        "catch up carrier v2",
        "catch up route v2",
        "diff carrier v1 v2",
        "diff route v1 v2",
        "promote carrier v2, route v2",
    ]


def test_a_parallel_plan_promotes_nothing() -> None:
    assert steps(build_plan(facts(deployed(1), strategy="parallel"))) == FULL[:-1]


def test_an_incremental_plan_checks_each_share_before_the_next() -> None:
    plan = build_plan(facts(deployed(1), strategy="incremental", shares=(5, 100)))

    assert steps(plan)[2:] == [
        "diff carrier v1 v2",
        "serve 5 % of the keys of carrier from v2",
        "check carrier v2 against v1",
        "serve 100 % of the keys of carrier from v2",
        "check carrier v2 against v1",
        "promote carrier v2",
    ]


def test_an_estimate_counts_the_largest_partition_group_and_shared_cores() -> None:
    """60,000 events for one worker, 40,000 for the other, at 50,000 a second on a core of its own."""
    two_groups = in_code(table=msgspec.structs.replace(table(), group_count=2))
    alone = build_plan(facts(deployed(1), code=two_groups)).views[0].estimate
    sharing = build_plan(facts(deployed(1), code=two_groups, cores=1)).views[0].estimate

    assert alone is not None
    assert sharing is not None
    assert (alone.events, alone.size_bytes) == (100_000, 8_000_000)
    assert alone.seconds == pytest.approx(1.0 + 1.2)
    assert sharing.seconds == pytest.approx(1.0 + 2.4)


def test_a_replay_that_never_catches_up_says_so_and_what_would_help() -> None:
    logs = {"events": msgspec.structs.replace(LOG, arrival_rate=60_000.0)}
    estimate = build_plan(facts(deployed(1), logs=logs)).views[0].estimate

    assert estimate is not None
    assert estimate.seconds is None
    assert estimate.advice == "with engine.workers = 2 it would take about 2 s"


PARTS = [OLD, NEW, {"key": "x"}]


@given(
    candidates=st.lists(st.tuples(st.sampled_from(PARTS), st.booleans()), max_size=4),
    code=st.sampled_from(PARTS),
    strategy=st.sampled_from(["full", "parallel", "incremental"]),
    seeded=st.booleans(),
    former=st.booleans(),
)
def test_no_plan_touches_what_readers_see_but_by_promoting_one_version_per_view(
    candidates: list[tuple[dict[str, str], bool]], code: dict[str, str], strategy: str, seeded: bool, former: bool
) -> None:
    versions = [
        deployed(number, parts, retired_at=deployed(1).created_at if retired and number > 2 else None)
        for number, (parts, retired) in enumerate([(OLD, False), *candidates], start=1)
    ]
    formers = {"carrier": Former(2, {}, 7)} if former and len(versions) > 1 else {}
    seed = SeedOffer(migration(), "") if seeded else "no"
    plan = build_plan(released(facts(*versions, code=in_code(code, seed=seed), strategy=strategy), formers=formers))

    stopped = [step for step in plan.steps if isinstance(step, Retire)]
    served = [step for step in plan.steps if isinstance(step, Promote | Shift)]
    assert all(step.version != 1 for step in stopped)
    assert all(not step.aborted or step.version != (2 if formers else None) for step in stopped)
    assert bool(served) == (bool(plan.steps) and strategy != "parallel")
    assert len([step for step in served if isinstance(step, Promote)]) <= 1
    assert bool(plan.steps) == (code != OLD)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
