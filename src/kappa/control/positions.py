"""Say how far versions are: their positions, their lag, and whether a candidate holds what its primary holds.

Reads committed progress only. Positions of versions that read the same log compare partition by partition; those of
different logs do not, so such a version has to reach the end of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kappa.model.records import Position, lag
from kappa.model.schema import ViewTable
from kappa.ports import Log, Version, ViewStore
from kappa.ports.log import EVENT_LOG, copied_up_to

# Opens a log by name; whoever calls it closes the log.
OpenLog = Callable[[str], Log]


def position_of(table: ViewTable, store: ViewStore) -> dict[int, int]:
    """Return how far a version has folded its log."""
    return {partition: progress.next_offset for partition, progress in store.progress(table).items()}


def uncopied(log: str, logs: Mapping[str, Log]) -> int:
    """Return how many records of the event log a repartitioned one, which may not exist yet, does not hold yet."""
    if log == EVENT_LOG or EVENT_LOG not in logs:
        return 0
    copied = copied_up_to(logs[EVENT_LOG], logs[log]) if log in logs else {}
    return lag(copied, logs[EVENT_LOG].ends())


def lag_of(table: ViewTable, position: Position, logs: Mapping[str, Log]) -> int:
    """Return how many records lie between a version's position, which was read before, and the end of its log.

    Of a repartitioned log, those that are not copied into it yet count too. `logs` are those that exist.
    """
    to_copy = uncopied(table.log, logs)
    return to_copy + (lag(position, logs[table.log].ends()) if table.log in logs else 0)


def behind_primary(
    version: Version, primary: Version | None, positions: Mapping[str, Position], logs: Mapping[str, Log]
) -> int:
    """Return how many records a version's primary holds and it does not, now.

    Without a primary, or if that reads another log, it is the version's lag.

    Args:
        version: The version.
        primary: That of its view, or None.
        positions: Table name -> position, of both.
        logs: Those that exist.
    """
    position = positions[version.table.name]
    if primary is not None and primary.table.log == version.table.log:
        return lag(position, positions[primary.table.name])
    return lag_of(version.table, position, logs)


class Goal:
    """What a version must hold to have caught up: what its primary held when this was made.

    Both go on folding, so that a candidate which had to hold all that its primary holds now might never do.
    """

    def __init__(self, version: Version, primary: Version | None, *, store: ViewStore, open_log: OpenLog) -> None:
        """Read what the primary holds; without one, or if it reads another log, what the event log holds."""
        self.version = version
        self._store, self._open_log = store, open_log
        self._target: Position | None = None
        self._source_ends: Position = {}
        if primary is not None and primary.table.log == version.table.log:
            self._target = position_of(primary.table, store)
        else:
            with open_log(EVENT_LOG) as events:
                self._source_ends = events.ends()

    @property
    def exact(self) -> bool:
        """Whether `behind` is just so many events, or a few less: see `Log.has_gaps`."""
        with self._open_log(self.version.table.log) as log:
            return not log.has_gaps

    def behind(self) -> int:
        """Return how many records the version does not hold yet."""
        position = position_of(self.version.table, self._store)
        if self._target is not None:
            return lag(position, self._target)
        if self.version.table.log == EVENT_LOG:
            self._target = self._source_ends
            return lag(position, self._target)
        with self._open_log(self.version.table.log) as log, self._open_log(EVENT_LOG) as events:
            to_copy = lag(copied_up_to(events, log), self._source_ends)
            # Read behind what was copied: once nothing is left to copy, these ends hold all of it.
            ends = log.ends()
        if not to_copy:
            self._target = ends
        return to_copy + lag(position, ends)
