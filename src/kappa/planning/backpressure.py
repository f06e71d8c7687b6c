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
# A checkpoint that takes more than this part of the interval leaves too little time to fold.
_CHECKPOINT_PART_MAX = 0.5
# Less lag than this is none: nobody looks for a cause of seconds.
_LAG_MIN = 10_000
# A partition is hot that holds twice its share of the lag, at least half of it, and of two partitions nearly all.
_SKEW_TIMES, _SKEW_MIN, _SKEW_MAX = 2.0, 0.5, 0.9


class Level(StrEnum):
    """How much of its time an operator waits for the next one."""

    OK = "ok"
    LOW = "low"
    HIGH = "high"


class Verdict(msgspec.Struct, frozen=True):
    """What holds a job up.

    Attributes:
        level: The worst of its operators.
        starts_at: The operator that the others wait for; empty if nobody waits and none is at its limit.
        advice: What would help, for people; empty if there is nothing to do.
    """

    level: Level
    starts_at: str
    advice: tuple[str, ...]


def level_of(operator: OperatorLoad) -> Level:
    """Return how much an operator waits for the next one.

    >>> level_of(OperatorLoad("source", 1, busy_ms=300, idle_ms=100, backpressured_ms=600))
    <Level.HIGH: 'high'>
    """
    part = operator.backpressured_ms / 1_000
    if part > _HIGH:
        return Level.HIGH
    return Level.LOW if part > _LOW else Level.OK


def judge(load: JobLoad, lags: Mapping[int, int]) -> Verdict:
    """Say what holds a job up, and what would help.

    Args:
        load: Where its time goes.
        lags: Partition -> how many records the version has not folded yet, of all partitions.
    """
    levels = [level_of(operator) for operator in load.operators]
    level = next((each for each in (Level.HIGH, Level.LOW) if each in levels), Level.OK)
    limit = _limit(load.operators, levels)
    advice = (
        "" if load.checkpoint is None else _about_checkpoints(load.checkpoint, load.profile),
        "" if limit is None else _about_lag(limit, lags, load.profile),
    )
    return Verdict(level, "" if limit is None else limit.name, tuple(filter(None, advice)))


def _limit(operators: Sequence[OperatorLoad], levels: Sequence[Level]) -> OperatorLoad | None:
    """Return the operator that the others wait for: the first behind the last that waits, or one that is at its limit.

    The operators are in the order of the data flow.
    """
    waiting = [place for place, level in enumerate(levels) if level is not Level.OK]
    if waiting and waiting[-1] + 1 < len(operators):
        return operators[waiting[-1] + 1]
    return next((operator for operator in operators if operator.busy_ms / 1_000 > _BUSY), None)


def _about_checkpoints(checkpoint: CheckpointLoad, profile: str) -> str:
    if checkpoint.duration_s <= _CHECKPOINT_PART_MAX * checkpoint.interval_s:
        return ""
    better_s = math.ceil(checkpoint.duration_s / _CHECKPOINT_PART_MAX)
    return (
        f"a checkpoint takes {checkpoint.duration_s:.1f} s and begins every {checkpoint.interval_s:g} s: "
        f"set flink.{profile}.checkpoint_interval_s to {better_s} or more"
    )


def _about_lag(limit: OperatorLoad, lags: Mapping[int, int], profile: str) -> str:
    total = sum(lags.values())
    if total < _LAG_MIN:
        return ""
    partition, most = max(lags.items(), key=lambda each: each[1])
    if len(lags) > 1 and most / total > min(_SKEW_MAX, max(_SKEW_MIN, _SKEW_TIMES / len(lags))):
        return (
            f"partition {partition} holds {most / total:.0%} of the lag: a few keys in it have most of the events, and "
            "more subtasks do not divide a partition; a view with a finer key would"
        )
    if limit.parallelism < len(lags):
        return (
            f"{limit.name} is at its limit with {limit.parallelism} of at most {len(lags)} subtasks: set "
            f"flink.{profile}.parallelism to {min(2 * limit.parallelism, len(lags))}, see that the cluster has as many "
            "slots, and run kappa up again"
        )
    return (
        f"{limit.name} is at its limit with a subtask per partition: it needs faster machines, or a log with more "
        "partitions"
    )
