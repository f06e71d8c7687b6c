"""What holds a job up is found behind the last operator that waits; what would help depends on where the lag is."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kappa.planning.backpressure import Level, Verdict, judge, level_of
from kappa.ports.engine import CheckpointLoad, JobLoad, OperatorLoad

EVEN = dict.fromkeys(range(4), 100_000)


def operator(name: str, *, busy: float = 0.0, waits: float = 0.0, parallelism: int = 2) -> OperatorLoad:
    return OperatorLoad(name, parallelism, 1_000 * busy, 1_000 * (1 - busy - waits), 1_000 * waits)


def checkpoint(duration_s: float) -> CheckpointLoad:
    return CheckpointLoad(datetime(2026, 1, 1, tzinfo=UTC), duration_s, 10.0, state_bytes=10**9, written_bytes=10**6)


def test_a_job_with_little_to_do_is_fine() -> None:
    load = JobLoad([operator("source", busy=0.1), operator("fold", busy=0.3)], checkpoint(0.4))

    assert judge(load, dict.fromkeys(range(4), 0)) == Verdict(Level.OK, "", ())


def test_what_the_others_wait_for_is_the_first_that_does_not_wait_itself() -> None:
    load = JobLoad([operator("source", waits=0.9), operator("fold", busy=0.3, waits=0.6), operator("commit", busy=0.9)])

    verdict = judge(load, EVEN)

    assert (verdict.level, verdict.starts_at) == (Level.HIGH, "commit")


def test_a_source_at_its_limit_is_named_although_nobody_waits() -> None:
    load = JobLoad([operator("source", busy=0.95), operator("fold", busy=0.5)])

    assert judge(load, EVEN).starts_at == "source"


def test_a_lag_of_all_partitions_asks_for_more_subtasks() -> None:
    load = JobLoad([operator("source", waits=0.8), operator("fold", busy=0.99)])

    (advice,) = judge(load, EVEN).advice

    assert "fold is at its limit with 2 of at most 4 subtasks: set flink.live.parallelism to 4" in advice


def test_a_lag_of_one_partition_names_it() -> None:
    load = JobLoad([operator("source", waits=0.8), operator("fold", busy=0.99)])

    (advice,) = judge(load, {**EVEN, 3: 2_000_000}).advice

    assert "partition 3 holds 87% of the lag" in advice


def test_with_a_subtask_per_partition_more_of_them_are_not_advised() -> None:
    load = JobLoad([operator("source", waits=0.8, parallelism=4), operator("fold", busy=0.99, parallelism=4)])

    (advice,) = judge(load, EVEN).advice

    assert "needs faster machines" in advice


def test_slow_checkpoints_ask_for_a_longer_interval() -> None:
    load = JobLoad([operator("source"), operator("fold")], checkpoint(6.2))

    assert judge(load, EVEN).advice == (
        "a checkpoint takes 6.2 s and begins every 10 s: set flink.live.checkpoint_interval_s to 13 or more",
    )


def test_the_advice_for_a_replay_is_about_the_settings_of_replays() -> None:
    load = JobLoad([operator("source", waits=0.8), operator("fold", busy=0.99)], checkpoint(6.2), profile="replay")

    about_checkpoints, about_lag = judge(load, EVEN).advice

    assert "set flink.replay.checkpoint_interval_s to 13 or more" in about_checkpoints
    assert "set flink.replay.parallelism to 4" in about_lag


def test_a_job_that_keeps_up_needs_no_advice_however_busy_it_is() -> None:
    load = JobLoad([operator("source", waits=0.3), operator("fold", busy=0.99)])

    assert judge(load, dict.fromkeys(range(4), 20)).advice == ()


parts = st.floats(0, 1)


@given(st.lists(st.tuples(parts, parts), min_size=1, max_size=5))
def test_whoever_the_others_wait_for_does_not_wait_itself(times: list[tuple[float, float]]) -> None:
    operators = [
        OperatorLoad(f"operator {place}", 1, 1_000 * busy, 0.0, 1_000 * waits)
        for place, (busy, waits) in enumerate(times)
    ]
    verdict = judge(JobLoad(operators), {0: 0})

    named = [each for each in operators if each.name == verdict.starts_at]
    last_waits = level_of(operators[-1]) is not Level.OK
    assert last_waits or all(level_of(each) is Level.OK for each in named)
