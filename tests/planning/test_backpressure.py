"""What holds a job up is found behind the last operator that waits; what would help depends on where the lag is."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kappa.planning.backpressure import HotKey, Level, Verdict, judge, level_of
from kappa.ports.engine import CheckpointLoad, JobLoad, OperatorLoad

EVEN = dict.fromkeys(range(4), 100_000)


def operator(name: str, *, busy: float = 0.0, waits: float = 0.0, parallelism: int = 2) -> OperatorLoad:
    return OperatorLoad(name, parallelism, 1_000 * busy, 1_000 * (1 - busy - waits), 1_000 * waits)


def checkpoint(duration_s: float, *, waited_s: float = 0.0) -> CheckpointLoad:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return CheckpointLoad(at, duration_s, 10.0, state_bytes=10**9, written_bytes=10**6, waited_s=waited_s)


def slow_fold(parallelism: int) -> JobLoad:
    return JobLoad(
        [operator("source", waits=0.8, parallelism=parallelism), operator("fold", busy=0.99, parallelism=parallelism)]
    )


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


def test_the_last_operator_is_named_if_all_seem_busy() -> None:
    load = JobLoad([operator("source", busy=1.0), operator("fold", busy=1.0)])

    assert judge(load, EVEN).starts_at == "fold"


def test_a_lag_of_all_partitions_asks_for_more_subtasks() -> None:
    (advice,) = judge(slow_fold(2), EVEN).advice

    assert "fold is at its limit with 2 of at most 4 subtasks: set flink.live.parallelism to 4" in advice


def test_a_key_with_half_of_all_events_is_named_and_more_subtasks_are_not_advised() -> None:
    """They would catch up 1.33 times as fast with two, and 1.2 times with four instead of two."""
    lags, key = {**EVEN, 2: 500_000}, HotKey("ana", 0.8)

    for parallelism in (1, 2, 4):
        verdict = judge(slow_fold(parallelism), lags, key)

        (advice,) = verdict.advice
        assert advice.startswith(
            "key 'ana' has 80% of the events of its partition, and partition 2 holds 62% of the lag"
        )
        assert "flink.live.parallelism" not in advice
        assert verdict.hot_key == key


def test_a_key_that_does_not_stand_out_is_not_named() -> None:
    verdict = judge(slow_fold(2), {**EVEN, 2: 500_000}, HotKey("ana", 0.02))

    assert verdict.hot_key is None
    assert "ana" not in verdict.advice[0]
    assert "partition 2 holds 62% of the lag, no key of it stands out" in verdict.advice[0]


def test_a_hot_key_in_one_of_many_partitions_that_more_subtasks_divide_is_no_reason_against_them() -> None:
    lags = {**dict.fromkeys(range(16), 60_000), 5: 120_000}

    verdict = judge(slow_fold(2), lags, HotKey("ana", 0.6))

    assert "set flink.live.parallelism to 4" in verdict.advice[0]
    assert verdict.hot_key is None


def test_with_a_subtask_per_partition_more_of_them_are_not_advised() -> None:
    (advice,) = judge(slow_fold(4), EVEN).advice

    assert "with a subtask of its own: faster machines would help" in advice


def test_a_checkpoint_that_waits_behind_events_asks_for_no_longer_interval() -> None:
    """Its work takes no time from anybody: what holds it up is what holds up the events."""
    load = msgspec.structs.replace(slow_fold(2), checkpoint=checkpoint(9.4, waited_s=9.2))

    (advice,) = judge(load, EVEN).advice

    assert "flink.live.checkpoint_interval_s" not in advice


def test_slow_checkpoints_ask_for_a_longer_interval() -> None:
    load = JobLoad([operator("source"), operator("fold")], checkpoint(6.2))

    (advice,) = judge(load, EVEN).advice

    assert advice.startswith(
        "a checkpoint takes 6.2 s and begins every 10 s: set flink.live.checkpoint_interval_s to 31 or more"
    )


def test_the_advice_for_a_replay_is_about_the_settings_of_replays() -> None:
    load = JobLoad([operator("source", waits=0.8), operator("fold", busy=0.99)], checkpoint(6.2), profile="replay")

    about_lag, about_checkpoints = judge(load, EVEN).advice

    assert "set flink.replay.checkpoint_interval_s to 31 or more" in about_checkpoints
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
