"""Which profiles the jobs of a plan's versions go through, and what is said if the cluster has no room for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from planning.facts import LOG, NEW, OLD, deployed, facts, in_code, migration, table

from kappa.cli.plan import _view_lines
from kappa.planning.facts import SeedOffer
from kappa.planning.jobs import JobFacts
from kappa.planning.plans import Plan
from kappa.planning.strategies import build_plan
from kappa.ports.profiles import LIVE_LAG_MAX, REPLAY_LAG_MIN, Profile, Profiles, Slots

LIVE = Profile(
    name="live",
    parallelism=0,
    checkpoint_interval_s=10.0,
    buffer_timeout_ms=50,
    bundle_records=1_000,
    flush_interval_s=0.5,
)
REPLAY = msgspec.structs.replace(LIVE, name="replay", parallelism=2, checkpoint_interval_s=60.0, bundle_records=20_000)
ROOMY = Slots(total=8, usable=8, task_managers=8)
LONG = {"events": msgspec.structs.replace(LOG, ends={0: REPLAY_LAG_MIN, 1: 1})}


def planned(*, slots: Slots | None = ROOMY, choice: Any = "auto", **more: Any) -> Plan:
    """The plan for a view that has changed since v1, where versions are jobs."""
    versions = more.pop("versions", [deployed(1)])
    profiles = Profiles(live=LIVE, replay=REPLAY, choice=choice)
    return build_plan(facts(*versions, jobs=JobFacts(profiles, slots), **more))


def names(plan: Plan) -> list[str]:
    return [profile.name for profile in plan.views[0].profiles]


def test_a_long_log_is_replayed_and_then_followed_live() -> None:
    replay, live = planned(logs=LONG).views[0].profiles

    assert replay == REPLAY
    assert live == msgspec.structs.replace(LIVE, parallelism=1)


def test_a_short_log_is_not_worth_a_profile_of_its_own() -> None:
    assert LOG.events <= REPLAY_LAG_MIN

    assert names(planned()) == ["live"]


def test_a_version_with_a_seed_begins_close_to_the_end_of_its_log() -> None:
    code = in_code(seed=SeedOffer(migration(), "its rows are brought into the new shape"))

    assert names(planned(logs=LONG, code=code)) == ["live"]


@pytest.mark.parametrize("choice", ["live", "replay"])
def test_a_profile_that_the_settings_choose_stays_for_good(choice: str) -> None:
    assert names(planned(choice=choice, logs=LONG)) == [choice]


def test_what_is_deployed_already_has_its_job_and_what_does_not_change_has_none() -> None:
    reused = planned(versions=[deployed(1), deployed(2, NEW)], logs=LONG)
    unchanged = planned(versions=[deployed(1, NEW)], logs=LONG)

    assert (reused.views[0].candidate, names(reused)) == (2, [])
    assert names(unchanged) == []


def test_where_versions_are_no_jobs_nothing_is_said_of_them() -> None:
    plan = build_plan(facts(deployed(1), logs=LONG))

    assert (plan.views[0].profiles, plan.warnings) == ((), ())
    assert not [line for line in _view_lines(plan.views[0]) if "profile" in line]


def test_people_read_both_profiles() -> None:
    *_, replay, live = _view_lines(planned(logs=LONG).views[0])

    assert replay.startswith("  replay profile: 2 TaskManagers, checkpoints every 60 s, bundles of 20,000 events or ")
    assert live.startswith("  then live profile: 1 TaskManager, checkpoints every 10 s, bundles of 1,000 events or ")
    assert live.endswith(" 50 ms, commits every 0.5 s")


def test_a_subtask_without_a_partition_is_not_asked_for() -> None:
    profiles = Profiles(live=LIVE, replay=msgspec.structs.replace(REPLAY, parallelism=64))

    assert profiles.of(table()).replay.parallelism == table().partition_count == 2


def test_a_job_that_is_submitted_goes_by_what_a_plan_goes_by() -> None:
    profiles = Profiles(live=LIVE, replay=REPLAY)

    assert profiles.ahead(REPLAY_LAG_MIN) == (LIVE,)
    assert profiles.ahead(REPLAY_LAG_MIN + 1) == (REPLAY, LIVE)
    assert LIVE_LAG_MAX < REPLAY_LAG_MIN, "a job that goes on live must not be one that replays"


@pytest.mark.parametrize(("usable", "missing"), [(3, 0), (2, 1), (0, 3)])
def test_slots_that_are_missing_are_told_with_what_to_do(usable: int, missing: int) -> None:
    """One for v1, which is live, and two for the replay of v2."""
    plan = planned(logs=LONG, slots=Slots(total=4, usable=usable, task_managers=4))

    if not missing:
        assert plan.warnings == ()
        return
    (warning,) = plan.warnings
    assert f"all jobs together need 3 slots, and the Flink cluster has {usable} for them" in warning
    assert f"Start {missing} more, here with kappa stack up --taskmanagers {4 + missing}" in warning


def test_a_candidate_that_gives_way_leaves_its_slots() -> None:
    other = {**OLD, "fold flights": "count(Arrived)"}

    plan = planned(
        versions=[deployed(1), deployed(2, other)], logs=LONG, slots=Slots(total=3, usable=3, task_managers=3)
    )

    assert (plan.views[0].candidate, plan.warnings) == (3, ())


def test_slots_that_jobs_share_are_told() -> None:
    (warning,) = planned(slots=Slots(total=8, usable=8, task_managers=2)).warnings

    assert "a replay may share one with a live job: set taskmanager.numberOfTaskSlots to 1" in warning


def test_a_cluster_that_does_not_answer_is_told_and_does_not_stand_in_the_way() -> None:
    plan = planned(slots=None)

    assert plan.steps
    assert ["the Flink cluster does not answer" in warning for warning in plan.warnings] == [True]


def test_slots_matter_only_where_a_job_is_new() -> None:
    assert planned(versions=[deployed(1, NEW)], slots=Slots(total=0, usable=0, task_managers=0)).warnings == ()


def test_the_estimate_counts_the_subtasks_of_the_profile_that_replays_and_the_submission() -> None:
    """6,000,000 events in two partitions, at 50,000 a second on a core."""
    even = {"events": msgspec.structs.replace(LOG, ends={0: 3_000_000, 1: 3_000_000})}
    by_two = planned(logs=even).views[0].estimate
    by_one = planned(logs=even, choice="live").views[0].estimate

    assert by_two is not None
    assert by_one is not None
    assert by_two.seconds == pytest.approx(15.0 + 60.0)
    assert by_one.seconds == pytest.approx(15.0 + 120.0)
    assert (by_two.advice, by_one.advice) == ("", "with flink.live.parallelism = 2 it would take about 60 s")
