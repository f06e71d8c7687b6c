"""Measure how far running versions are. It reads positions and ends; it starts and stops nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec

from kappa.control.positions import position_of
from kappa.model.records import Position, lag
from kappa.planning.states import VersionState, state_of
from kappa.ports import Log, Release, Version, ViewStore, WorkerHealth
from kappa.ports.log import EVENT_LOG, copied_up_to


class VersionProgress(msgspec.Struct, frozen=True):
    """How far one version is.

    Attributes:
        view, version: Which one.
        state: Where it is in its life.
        position: Committed records, summed over partitions.
        end: Records in its log, summed over partitions.
        lag: Records between them; for a repartitioned log also those not copied into it yet.
        unfolded: The same, but counting as done what its workers have folded and not committed yet.
        rate: Records per second folded lately.
        share: Of the time, in which it may work: less than 1 while it is throttled.
        failure: Why it cannot go on, for people; empty while it can.
        exact: Whether these numbers of records are exact, or a little too large: see `Log.has_gaps`.
    """

    view: str
    version: int
    state: VersionState
    position: int
    end: int
    lag: int
    unfolded: int
    rate: float
    share: float = 1.0
    failure: str = ""
    exact: bool = True


class Measurement:
    """One measurement of all running versions.

    The ends of the event log are read before any position: what is appended meanwhile belongs to the next measurement.
    """

    def __init__(
        self,
        versions: Collection[Version],
        release: Release,
        workers: Sequence[WorkerHealth],
        *,
        store: ViewStore,
        log: Callable[[str], Log],
    ) -> None:
        """Read how far everything is; `log` gives a log by name, which stays open."""
        self._release, self._workers, self._log = release, workers, log
        self._source_ends = log(EVENT_LOG).ends()
        self._versions = versions
        self._positions = {version.table.name: position_of(version.table, store) for version in versions}

    def versions(self, shares: Mapping[str, float]) -> Iterator[VersionProgress]:
        """Yield how far each version is; `shares` are those of throttled versions, by table name."""
        for version in self._versions:
            table = version.table
            position = self._positions[table.name]
            ends, uncopied = self._ends(table.log)
            mine = [worker for worker in self._workers if worker.table in (table.name, table.log)]
            folding = [worker for worker in mine if worker.table == table.name]
            folded = {partition: at for worker in folding for partition, at in worker.positions.items()}
            failed = next((worker for worker in mine if worker.state == "failed"), None)
            yield VersionProgress(
                view=table.view,
                version=table.version,
                state=state_of(version, self._release, position=position, behind=self._behind(version, position)),
                position=sum(position.values()),
                end=sum(ends.values()),
                lag=lag(position, ends) + uncopied,
                unfolded=lag({**position, **folded}, ends) + uncopied,
                rate=sum(sum(worker.rates.values()) for worker in folding),
                share=shares.get(table.name, 1.0),
                failure=f"{failed.name} failed: {failed.detail}" if failed else "",
                exact=not self._log(table.log).has_gaps,
            )

    def _ends(self, log: str) -> tuple[Position, int]:
        """Return a log's ends, and how many records of the event log are not copied into it."""
        if log == EVENT_LOG:
            return self._source_ends, 0
        uncopied = lag(copied_up_to(self._log(EVENT_LOG), self._log(log)), self._source_ends)
        # Read behind what was copied, so that nothing is missed between the two.
        return self._log(log).ends(), uncopied

    def _behind(self, version: Version, position: Position) -> int:
        """Return how many records a version's primary holds and it does not; without a primary, its log."""
        number = self._release.primaries.get(version.table.view)
        primary = next(
            (
                each
                for each in self._versions
                if (each.table.view, each.table.version) == (version.table.view, number)
                and each.table.log == version.table.log
            ),
            None,
        )
        if primary is not None:
            return lag(position, self._positions[primary.table.name])
        ends, uncopied = self._ends(version.table.log)
        return lag(position, ends) + uncopied
