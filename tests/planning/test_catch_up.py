"""When a replay catches up: right at any spacing of samples, and silent while nothing is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.planning.catch_up import CatchUp, Estimator, advice, catch_up_s


def followed(*, rate: float, arrival: float = 0.0, until_s: float, every_s: float, step_s: float = 0.0) -> Estimator:
    """Follow a worker that is 1,000,000 records behind; it says how far it is every `step_s`, if that is given."""
    estimator = Estimator(1)
    for number in range(int(until_s / every_s) + 1):
        at_s = number * every_s
        moved_s = at_s // step_s * step_s if step_s else at_s
        estimator.add(at_s, {0: int(rate * moved_s)}, {0: 1_000_000 + int(arrival * at_s)})
    return estimator


def seconds(estimator: Estimator) -> float | None:
    now = estimator.estimate()
    assert now is not None
    return now.seconds


def test_a_steady_replay_is_known_exactly() -> None:
    assert seconds(followed(rate=10_000, until_s=10, every_s=0.1)) == pytest.approx(90, rel=0.01)


def test_arrivals_make_it_longer() -> None:
    assert seconds(followed(rate=10_000, arrival=2_000, until_s=10, every_s=0.1)) == pytest.approx(115, rel=0.01)


def test_what_arrives_faster_than_it_is_folded_is_never_caught_up_with() -> None:
    assert seconds(followed(rate=1_000, arrival=2_000, until_s=10, every_s=0.1)) is None


def test_nothing_is_said_before_the_first_events_were_folded() -> None:
    estimator = Estimator(1)
    for second in range(60):
        estimator.add(float(second), {0: 0}, {0: 100})

    assert estimator.estimate() is None


def test_nothing_is_said_without_a_sample() -> None:
    assert Estimator(1).estimate() is None


def test_the_start_of_a_worker_is_not_part_of_its_rate() -> None:
    estimator = Estimator(1)
    for tenth in range(100):
        at_s = tenth / 10
        estimator.add(at_s, {0: int(max(0.0, at_s - 5) * 10_000)}, {0: 1_000_000})

    assert seconds(estimator) == pytest.approx(95, rel=0.02)


def test_positions_that_come_with_commits_are_as_good_and_time_runs_on_between_them() -> None:
    estimator = followed(rate=10_000, until_s=39, every_s=0.1, step_s=10)

    assert seconds(estimator) == pytest.approx(61, rel=0.02)


def test_a_worker_that_stands_slows_the_estimate() -> None:
    estimator = followed(rate=10_000, until_s=10, every_s=0.1)
    for second in range(11, 40):
        estimator.add(float(second), {0: 100_000}, {0: 1_000_000})

    found = seconds(estimator)
    assert found is not None
    assert found > 180


def test_a_throttle_is_noticed_within_a_minute() -> None:
    estimator = followed(rate=10_000, until_s=20, every_s=0.1)
    for second in range(1, 61):
        estimator.add(20.0 + second, {0: 200_000 + 1_000 * second}, {0: 1_000_000})

    assert seconds(estimator) == pytest.approx(740, rel=0.05)


def test_the_slowest_worker_decides() -> None:
    """Partition 0 is of one group, partition 1 of the other, which has five times as much to read."""
    estimator = Estimator(2)
    for second in range(6):
        estimator.add(float(second), {0: 1_000 * second, 1: 1_000 * second}, {0: 10_000, 1: 50_000})

    now = estimator.estimate()
    assert now is not None
    assert now.seconds == pytest.approx(45)
    assert (now.lag, round(now.replay_rate)) == (50_000, 2_000)


def test_a_worker_with_nothing_to_read_holds_up_nobody() -> None:
    estimator = Estimator(2)
    for second in range(6):
        estimator.add(float(second), {0: 1_000 * second}, {0: 10_000, 1: 0})

    assert seconds(estimator) == pytest.approx(5)


def test_one_that_has_caught_up_and_idles_does_not_seem_slow_later() -> None:
    estimator = followed(rate=100_000, until_s=15, every_s=0.1)
    for second in range(1, 300):
        end = 1_500_000 + 100 * second
        estimator.add(15.0 + second, {0: end}, {0: end})
    estimator.add(320.0, {0: 1_529_900}, {0: 1_629_900})

    found = seconds(estimator)
    assert found is not None
    assert found < 2


def test_done_is_no_seconds() -> None:
    estimator = Estimator(1)
    estimator.add(0.0, {0: 5}, {0: 5})

    assert estimator.estimate() == CatchUp(0, 0.0, 0.0, 0.0)


@given(
    rate=st.floats(100, 100_000),
    share=st.floats(0, 0.9),
    gaps=st.lists(st.floats(0.05, 2), min_size=10, max_size=60),
)
def test_however_the_samples_are_spaced_the_estimate_is_the_truth_of_steady_rates(
    rate: float, share: float, gaps: list[float]
) -> None:
    estimator, at_s, lag = Estimator(1), 0.0, 100_000_000
    for gap in gaps:
        estimator.add(at_s, {0: int(rate * at_s)}, {0: lag + int(rate * share * at_s)})
        at_s += gap
    now = estimator.estimate()
    if now is None:
        assert at_s - gaps[0] - gaps[-1] < 1
        return

    truth = catch_up_s(now.lag, replay_rate=rate, arrival_rate=rate * share)
    assert truth is not None
    # Whole records only: at a hundred a second and a twentieth of a second, one of five is rounded away.
    assert now.seconds == pytest.approx(truth, rel=0.5 if rate < 1_000 else 0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"share": 0.25, "workers": 2}, "without the throttle, which spares the live views, it would take about 30 s"),
        ({"workers": 1}, "with engine.workers = 2 it would take about 30 s"),
        ({"workers": 2}, ""),
        ({"workers": 2, "arrival_rate": 8_000.0}, "it would have to fold 2 times as fast"),
    ],
)
def test_advice_names_what_can_be_done(options: dict[str, float], said: str) -> None:
    known = {"worker_rate": 2_000.0, "workers_max": 2, "arrival_rate": 1_000.0}

    assert advice(90_000, **(known | options)).startswith(said)
