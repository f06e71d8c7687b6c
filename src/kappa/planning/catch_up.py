"""Say when a replay catches up with the end of its log, and what would help.

Pure: the caller measures positions and brings the time. Rates are records per second, lag is records. A replay has
caught up when the slowest of its workers has, so each partition group is followed by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

# How long a rate is remembered: as long as a replay works from commit to commit, for while it commits it folds nothing.
# What else runs on the machine, or a throttle, changes the rate for good, and is noticed as soon.
SMOOTHING_S = 10.0
# What is said before this much work was seen would be a guess.
COLD_START_S = 1.0
# A position that has not moved for so many times its longest step so far stands still. Steps are at least as long as
# workers take to report, and at most as replays take from commit to commit.
_STALL_STEPS = 3.0
_STEP_MIN_S, _STEP_MAX_S = 1.0, 12.0


def catch_up_s(lag: int, *, replay_rate: float, arrival_rate: float) -> float | None:
    """Return the seconds until `lag` records are consumed, or None for never.

    The end moves while we read, so only the difference of the rates closes the gap.

    >>> catch_up_s(90_000, replay_rate=4_000.0, arrival_rate=1_000.0)
    30.0
    >>> catch_up_s(90_000, replay_rate=900.0, arrival_rate=1_000.0) is None
    True
    """
    assert lag >= 0, lag
    if lag == 0:
        return 0.0
    closing_rate = replay_rate - arrival_rate
    return lag / closing_rate if closing_rate > 0 else None


class CatchUp(msgspec.Struct, frozen=True):
    """When a replay catches up, as far as is known now.

    Attributes:
        lag: Records to go.
        replay_rate: Records per second folded lately.
        arrival_rate: Records per second appended lately.
        seconds: Until it has caught up; None for never at these rates.
    """

    lag: int
    replay_rate: float
    arrival_rate: float
    seconds: float | None


class Estimator:
    """Follows a replay and says when it catches up.

    >>> estimator = Estimator(group_count=1)
    >>> for second in range(5):
    ...     estimator.add(float(second), {0: 1_000 * second}, {0: 10_000 + 100 * second})
    >>> now = estimator.estimate()
    >>> now.lag, round(now.replay_rate), round(now.arrival_rate), round(now.seconds, 1)
    (6400, 1000, 100, 7.1)
    """

    def __init__(self, group_count: int) -> None:
        """Follow a version of so many partition groups; `ViewTable.group_count`."""
        self._group_count = group_count
        self._groups: dict[int, _Group] = {}

    def add(self, time_s: float, position: Mapping[int, int], end: Mapping[int, int]) -> None:
        """Take note of how far the version and its log are.

        Args:
            time_s: When this was measured, on a clock that only goes forward.
            position: partition -> next offset to fold: of the workers, or else as committed. May move in steps.
            end: partition -> one past the log's last offset, of all its partitions.
        """
        positions, ends = self._by_group(position), self._by_group(end)
        for group, its_end in ends.items():
            sample = _Sample(time_s, positions.get(group, 0), its_end)
            if group in self._groups:
                self._groups[group].add(sample)
            else:
                self._groups[group] = _Group(sample)

    def estimate(self) -> CatchUp | None:
        """Return what is to be expected, or None while too little was seen to say."""
        groups = [group.estimate() for group in self._groups.values()]
        known = [group for group in groups if group is not None]
        if not groups or len(known) < len(groups):
            return None
        return CatchUp(
            sum(group.lag for group in known),
            sum(group.replay_rate for group in known),
            sum(group.arrival_rate for group in known),
            slowest(group.seconds for group in known),
        )

    def _by_group(self, vector: Mapping[int, int]) -> dict[int, int]:
        sums: dict[int, int] = {}
        for partition, offset in vector.items():
            group = partition % self._group_count
            sums[group] = sums.get(group, 0) + offset
        return sums


def slowest(seconds: Iterable[float | None]) -> float | None:
    """Return the longest of some times, where None is for ever.

    >>> slowest([3.0, 5.0]), slowest([3.0, None])
    (5.0, None)
    """
    times = list(seconds)
    known = [time for time in times if time is not None]
    return max(known, default=0.0) if len(known) == len(times) else None


def advice(
    lag: int,
    *,
    worker_rate: float,
    workers: int,
    workers_max: int,
    arrival_rate: float,
    share: float = 1.0,
    setting: str = "engine.workers",
) -> str:
    """Return what would make a replay catch up, or sooner, for people; empty if nothing would.

    Args:
        lag: Records to go.
        worker_rate: Records per second that one worker folds when it is not throttled.
        workers: How many work at once.
        workers_max: How many could: one per partition, and per core.
        arrival_rate: Records per second appended.
        share: Of the time that they may work.
        setting: What changes their number.

    >>> advice(90_000, worker_rate=900.0, workers=1, workers_max=4, arrival_rate=1_000.0)
    'with engine.workers = 4 it would take about 35 s'
    >>> advice(90_000, worker_rate=100.0, workers=4, workers_max=4, arrival_rate=1_000.0)
    'it would have to fold 2.5 times as fast: simplify its handlers, or use a machine with more cores'
    """
    if share < 1:
        freed = catch_up_s(lag, replay_rate=worker_rate * workers, arrival_rate=arrival_rate)
        if freed is not None:
            return f"without the throttle, which spares the live views, it would take {duration_text(freed)}"
    widened = catch_up_s(lag, replay_rate=worker_rate * workers_max, arrival_rate=arrival_rate)
    if widened is not None:
        more = f"with {setting} = {workers_max} it would take {duration_text(widened)}"
        return more if workers < workers_max else ""
    factor = arrival_rate / (worker_rate * workers_max) if worker_rate else math.inf
    return f"it would have to fold {factor:.2g} times as fast: simplify its handlers, or use a machine with more cores"


def duration_text(seconds: float) -> str:
    """Return a duration for people, with as much precision as an estimate has.

    >>> duration_text(0.4), duration_text(34.6), duration_text(200), duration_text(8_000), duration_text(200_000)
    ('about 1 s', 'about 35 s', 'about 3 min', 'about 2 h 10 min', 'about 2 days')
    """
    if seconds < _MINUTE_S * 2:
        return f"about {max(1, round(seconds))} s"
    if seconds < _HOUR_S * 2:
        return f"about {round(seconds / _MINUTE_S)} min"
    if seconds < _DAY_S * 2:
        hours, minutes = divmod(round(seconds / _MINUTE_S, -1), 60)
        return f"about {hours:.0f} h {minutes:.0f} min" if minutes else f"about {hours:.0f} h"
    return f"about {round(seconds / _DAY_S)} days"


_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


class _Sample(msgspec.Struct, frozen=True):
    """A group at one moment; `position` and `end` are summed over its partitions."""

    time_s: float
    position: int
    end: int

    @property
    def lag(self) -> int:
        return max(0, self.end - self.position)


class _Rate:
    """A smoothed rate: the ratio of two sums in which what is long ago counts less and less.

    Because the time decays like the records do, it is right from the first sample on and at any spacing of samples.
    """

    def __init__(self) -> None:
        self._records = 0.0
        self.seconds = 0.0

    def add(self, records: int, seconds: float) -> None:
        kept = math.exp(-seconds / SMOOTHING_S)
        self._records = self._records * kept + records
        self.seconds = self.seconds * kept + seconds

    @property
    def value(self) -> float:
        return self._records / self.seconds if self.seconds else 0.0


class _Group:
    """One worker's part of a replay.

    What is measured begins with its first move, for until then the worker was starting. Later a time without a move is
    part of the step that ends it, so that positions may come from commits; unless it is so long that the worker stands.
    Only what it does while there is more to read tells how fast it is.
    """

    def __init__(self, first: _Sample) -> None:
        self._last = self._counted = first
        self._moved_at_s = first.time_s
        self._step_s_max = _STEP_MIN_S
        self._begun = False
        self._replay, self._arrival = _Rate(), _Rate()

    def add(self, sample: _Sample) -> None:
        if sample.time_s <= self._last.time_s:
            return
        self._arrival.add(sample.end - self._last.end, sample.time_s - self._last.time_s)
        self._last = sample
        since_s = sample.time_s - self._moved_at_s
        if sample.position != self._counted.position:
            self._step_s_max = min(max(self._step_s_max, since_s), _STEP_MAX_S)
            self._moved_at_s = sample.time_s
        elif not self._begun or since_s <= _STALL_STEPS * self._step_s_max:
            return
        if self._begun and self._counted.lag and sample.lag:
            records = max(0, sample.position - self._counted.position)
            self._replay.add(records, sample.time_s - self._counted.time_s)
        self._begun, self._counted = True, sample

    def estimate(self) -> CatchUp | None:
        lag, replay_rate, arrival_rate = self._last.lag, self._replay.value, self._arrival.value
        if lag and self._replay.seconds < COLD_START_S:
            return None
        # What it has read since it last said so.
        ahead = round(replay_rate * (self._last.time_s - self._counted.time_s))
        seconds = catch_up_s(max(0, lag - ahead), replay_rate=replay_rate, arrival_rate=arrival_rate)
        return CatchUp(lag, replay_rate, arrival_rate, seconds)
