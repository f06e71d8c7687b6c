"""Say by which code a version counts which event: its own, or outside the range of its seed that of its base.

What tells how a row came to be, `kappa why` and the samples of a diff, folds its events by that. It reads no rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from kappa.control.alternating import EventRange
from kappa.control.code import LoadCode, ViewCode
from kappa.errors import KappaError
from kappa.model.records import Position, Record
from kappa.ports import Seed, Version

_NEVER = EventRange(0, 0)


class Counting(msgspec.Struct, frozen=True):
    """Which events a version counts by which code.

    Attributes:
        own: Its own code.
        base: That of the version whose rows its seed was made of; its own if that does not matter.
        times: When the events before `position` happened that it counts by its own code.
        position: Partition -> the offset from which on it counts all by its own code.
        exact: Whether its rows must be what its events make, so counted. A migration's rows need not be.
    """

    own: ViewCode
    base: ViewCode
    times: EventRange = _NEVER
    position: Position = {}
    exact: bool = True

    def by_own(self, record: Record) -> bool:
        """Say whether the version counts an event by its own code."""
        return record.offset >= self.position.get(record.partition, 0) or record.event_time_us in self.times


# Returns how a version counts events. Raises what `LoadCode` does.
LoadCounting = Callable[[Version], Counting]


def counting_of(version: Version, versions: Iterable[Version], load_code: LoadCode) -> Counting:
    """Return how a version counts events.

    Args:
        version: The version.
        versions: All of its view, stopped ones too.
        load_code: Gives the code of each. If that of the base is gone, its own stands for it, and it is not exact.
    """
    own = load_code(version)
    if version.seed is None:
        return Counting(own, own)
    base = _base_code(version.seed, versions, load_code) if version.seed.kind == "range" else None
    if base is None:
        return Counting(own, own, exact=False)
    return Counting(own, base, EventRange.of(version.seed), version.seed_position)


def _base_code(seed: Seed, versions: Iterable[Version], load_code: LoadCode) -> ViewCode | None:
    for version in versions:
        if version.table.version == seed.base:
            try:
                return load_code(version)
            except KappaError as error:
                if error.retryable:
                    raise
    return None
