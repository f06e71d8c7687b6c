"""Run contestants in turns and say how they compare.

The machine is never quiet, so a rate alone says little: whatever is compared runs in the same process, in turns, and
several times. A ratio is taken within a round, from runs that followed one another; its median and range are reported.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import msgspec

# Runs once, and returns events per second.
Contestant = Callable[[], float]
Rates = Mapping[str, tuple[float, ...]]


class Bound(msgspec.Struct, frozen=True):
    """What the median of a figure must keep.

    Attributes:
        limit: The bound.
        at_least: Whether it is the lower one.
        of_yardstick: Whether it bounds the ratio to the yardstick, and not the value.
    """

    limit: float
    at_least: bool
    of_yardstick: bool = False

    def kept_by(self, value: float) -> bool:
        """Say whether a median is within the bound."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:,g}{' of it' if self.of_yardstick else ''}"


class Figure(msgspec.Struct, frozen=True):
    """One line of a report.

    Attributes:
        what: What was measured.
        unit: Of the values, `x` for a ratio of two other lines.
        values: One per round.
        ratios: To the yardstick, one per round; empty where there is none.
        bound: What it has to keep, if anything.
    """

    what: str
    unit: str
    values: tuple[float, ...]
    ratios: tuple[float, ...] = ()
    bound: Bound | None = None

    @property
    def bound_kept(self) -> bool | None:
        """Whether the bound is kept; None without one."""
        if self.bound is None:
            return None
        return self.bound.kept_by(median(self.ratios if self.bound.of_yardstick else self.values))


def at_least(limit: float) -> Bound:
    """Return a lower bound of the values."""
    return Bound(limit, at_least=True)


def at_most(limit: float) -> Bound:
    """Return an upper bound of the values."""
    return Bound(limit, at_least=False)


def at_least_of_yardstick(limit: float) -> Bound:
    """Return a lower bound of the ratios."""
    return Bound(limit, at_least=True, of_yardstick=True)


def timed(work: Callable[[], object], *, events: int) -> float:
    """Return the events per second of a piece of work."""
    start = time.perf_counter()
    work()
    return events / (time.perf_counter() - start)


def in_turns(contestants: Mapping[str, Contestant], *, rounds: int) -> Rates:
    """Run each contestant once per round, and return its rates by name."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            gc.collect()
            rates[name].append(run())
    return {name: tuple(values) for name, values in rates.items()}


def rate(rates: Rates, what: str, *, bound: Bound | None = None) -> Figure:
    """Return the line of one contestant, with its ratio to the one called `yardstick`."""
    return Figure(what, "events/s", rates[what], _ratios(rates[what], rates["yardstick"]), bound)


def ratio(rates: Rates, what: str, to: str, *, bound: Bound | None = None) -> Figure:
    """Return the line that compares two contestants."""
    return Figure(f"{what} / {to}", "x", _ratios(rates[what], rates[to]), (), bound)


def _ratios(values: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    return tuple(value / other for value, other in zip(values, others, strict=True))
