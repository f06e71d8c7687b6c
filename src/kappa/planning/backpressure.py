"""Say from a job's load what holds it up, and what would help. Pure: values in, words out.

An operator that cannot hand on its results is backpressured. The cause is never there but downstream: it is the first
operator behind it that takes its results and hands on its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from kappa.ports.engine import CheckpointLoad, JobLoad, OperatorLoad

# Parts of a second, as Flink's own pages draw the lines.
_LOW, _HIGH = 0.1, 0.5
# An operator that works more than this is at its limit: it rests only between two reads.
_BUSY = 0.8
# A checkpoint that takes more than the first part of the interval leaves too little time to fold. What is recommended
# makes it the second one: at just below the first, the next slow one would be over it again.
_CHECKPOINT_PART_MAX, _CHECKPOINT_PART_WANTED = 0.5, 0.2
# Less lag than this is none: nobody looks for a cause of seconds.
_LAG_MIN = 10_000
# More subtasks have to catch up so many times as fast to be worth their slots. Twice as many do by 2 if the lag is
# even, and by 1.33 at most if half of it is of one key, which is not enough.
_GAIN_MIN = 1.4
# Of the events of its partition. Less, and the partition would still be slow without that key.
_HOT_KEY_MIN = 0.4


class Level(StrEnum):
    """How much of its time an operator waits for the next one."""

    OK = "ok"
    LOW = "low"
    HIGH = "high"


class HotKey(msgspec.Struct, frozen=True):
    """The key that more events of a partition have than any other.

    Attributes:
        key: As text.
        share: Of the partition's events, as far as a sample tells; at most 1.
    """

    key: str
    share: float


class Verdict(msgspec.Struct, frozen=True):
    """What holds a job up.

    Attributes:
        level: The worst of its operators.
        starts_at: The operator that the others wait for; empty if nobody waits and none is at its limit.
        advice: What would help, for people; empty if there is nothing to do.
        hot_key: The key that holds it up, if it is one.
    """

    level: Level
    starts_at: str
    advice: tuple[str, ...]
    hot_key: HotKey | None = None


def level_of(operator: OperatorLoad) -> Level:
    """Return how much an operator waits for the next one.

    >>> level_of(OperatorLoad("source", 1, busy_ms=300, idle_ms=100, backpressured_ms=600))
    <Level.HIGH: 'high'>
    """
    part = operator.backpressured_ms / 1_000
    if part > _HIGH:
        return Level.HIGH
    return Level.LOW if part > _LOW else Level.OK


def judge(load: JobLoad, lags: Mapping[int, int], hot_key: HotKey | None = None) -> Verdict:
    """Say what holds a job up, and what would help.

    Args:
        load: Where its time goes.
        lags: Partition -> how many records the version has not folded yet, of all partitions.
        hot_key: Of the partition `most_behind`; None if it has no events, or nobody knows.
    """
    levels = [level_of(operator) for operator in load.operators]
    level = next((each for each in (Level.HIGH, Level.LOW) if each in levels), Level.OK)
    limit = _limit(load.operators, levels)
    slow = "" if load.checkpoint is None else _about_checkpoints(load.checkpoint, load.profile)
    partition = None if limit is None else most_behind(lags)
    if limit is None or partition is None:
        return Verdict(level, "" if limit is None else limit.name, (slow,) if slow else ())
    wider = min(2 * limit.parallelism, len(lags))
    if _busiest_lag(lags, limit.parallelism) < _GAIN_MIN * _busiest_lag(lags, wider):
        hot_key = None if hot_key is None or hot_key.share < _HOT_KEY_MIN else hot_key
        advice = _about_partition(partition, lags, hot_key, divided=limit.parallelism >= len(lags))
    else:
        hot_key = None
        advice = (
            f"{limit.name} is at its limit with {limit.parallelism} of at most {len(lags)} subtasks: "
            f"set flink.{load.profile}.parallelism to {wider}, see that the cluster has as many slots, "
            "and run kappa up again"
        )
    return Verdict(level, limit.name, (advice, slow) if slow else (advice,), hot_key)


def most_behind(lags: Mapping[int, int]) -> int | None:
    """Return the partition with the largest lag; None if the lag is not worth looking for its cause.

    >>> most_behind({0: 3_000, 1: 90_000}), most_behind({0: 3_000, 1: 900})
    (1, None)
    """
    return max(lags, key=lambda partition: lags[partition]) if sum(lags.values()) >= _LAG_MIN else None


def _limit(operators: Sequence[OperatorLoad], levels: Sequence[Level]) -> OperatorLoad | None:
    """Return the operator that the others wait for: the first behind the last that waits, or one that is at its limit.

    The operators are in the order of the data flow.
    """
    waiting = [place for place, level in enumerate(levels) if level is not Level.OK]
    if waiting and waiting[-1] + 1 < len(operators):
        return operators[waiting[-1] + 1]
    # While a job starts all of its operators seem busy, but only the last of them stays so.
    busiest = max(reversed(operators), key=lambda operator: operator.busy_ms)
    return busiest if busiest.busy_ms / 1_000 > _BUSY else None


def _about_checkpoints(checkpoint: CheckpointLoad, profile: str) -> str:
    # Barriers that wait behind events take no time from anybody: what helps against the backpressure helps them too.
    work_s = checkpoint.duration_s - checkpoint.waited_s
    if work_s <= _CHECKPOINT_PART_MAX * checkpoint.interval_s:
        return ""
    better_s = math.ceil(work_s / _CHECKPOINT_PART_WANTED)
    return (
        f"a checkpoint takes {work_s:.1f} s and begins every {checkpoint.interval_s:g} s: "
        f"set flink.{profile}.checkpoint_interval_s to {better_s} or more, and run kappa up again"
    )


def _busiest_lag(lags: Mapping[int, int], parallelism: int) -> int:
    """Return the largest lag that one subtask of so many has to fold, which is what catching up takes.

    Partitions are dealt to subtasks in ranges, as the job's keys are chosen.

    >>> _busiest_lag({0: 10, 1: 20, 2: 70, 3: 20}, 2)
    90
    """
    its = [0] * parallelism
    for partition, lag in lags.items():
        its[partition * parallelism // len(lags)] += lag
    return max(its)


def _about_partition(partition: int, lags: Mapping[int, int], hot_key: HotKey | None, *, divided: bool) -> str:
    """Say what would help where more subtasks would not; `divided` is whether each partition has one already."""
    share = f"partition {partition} holds {lags[partition] / sum(lags.values()):.0%} of the lag"
    if hot_key is not None:
        return (
            f"key {hot_key.key!r} has {hot_key.share:.0%} of the events of its partition, and {share}: "
            "one subtask folds all events of a key, so more of them would not help, but a view with a finer key"
        )
    if divided:
        return f"{share}, with a subtask of its own: faster machines would help, or a log with more partitions"
    return f"{share}, no key of it stands out, and more subtasks do not divide a partition: a log with more would help"
