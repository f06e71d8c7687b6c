"""A subtask's pace. Time is a list of sleeps."""

from __future__ import annotations

from kappa.adapters.flink.throttle import DEBT_MAX_S, READ_INTERVAL_S, SLEEP_MAX_S, Throttle
from kappa.errors import StoreUnavailable


class Subtask:
    """A subtask whose clock moves only while it works and sleeps."""

    def __init__(self) -> None:
        self.share: float | None = 1.0
        self.now = self.slept_s = 0.0
        self.throttle = Throttle(self._read, clock=lambda: self.now, sleep=self._sleep)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.throttle.pause(seconds)

    def _read(self) -> float:
        if self.share is None:
            raise StoreUnavailable(store="PostgreSQL", cause="it is restarting")
        return self.share

    def _sleep(self, seconds: float) -> None:
        assert 0 <= seconds <= SLEEP_MAX_S
        self.now += seconds
        self.slept_s += seconds


def test_a_subtask_that_is_not_throttled_never_sleeps() -> None:
    subtask = Subtask()

    subtask.work(10.0)

    assert subtask.slept_s == 0


def test_a_throttled_subtask_works_its_share_of_the_time() -> None:
    subtask = Subtask()
    subtask.share = 0.25

    for _ in range(100):
        subtask.work(0.01)

    assert abs(subtask.slept_s - 3.0) < 0.001


def test_a_long_element_is_paid_for_in_short_sleeps() -> None:
    subtask = Subtask()
    subtask.share = 0.5

    subtask.work(0.5)
    for _ in range(10):
        subtask.work(0.0)

    assert abs(subtask.slept_s - 0.5) < 0.001


def test_a_subtask_that_may_work_freely_again_owes_nothing() -> None:
    subtask = Subtask()
    subtask.share = 0.01
    subtask.work(1.0)

    subtask.share = 1.0
    subtask.work(READ_INTERVAL_S)
    slept_s = subtask.slept_s
    subtask.share = 0.5
    subtask.work(READ_INTERVAL_S)

    assert slept_s == SLEEP_MAX_S
    assert subtask.slept_s == 2 * SLEEP_MAX_S


def test_what_a_subtask_owes_is_limited() -> None:
    subtask = Subtask()
    subtask.share = 0.001
    subtask.work(60.0)

    for _ in range(100):
        subtask.work(0.0)

    assert abs(subtask.slept_s - DEBT_MAX_S) < 0.001


def test_a_share_that_cannot_be_read_stays_as_it_was() -> None:
    subtask = Subtask()
    subtask.share = 0.5
    subtask.work(READ_INTERVAL_S)
    before_s = subtask.slept_s

    subtask.share = None
    subtask.work(READ_INTERVAL_S)

    assert subtask.slept_s > before_s
