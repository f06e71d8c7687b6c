"""The control store: versions and their code, the release, plans, history, who may write, and what was not ingested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from kappa.ports.engine import RunReport
from kappa.ports.plans import PlanStore
from kappa.ports.release import ReleaseStore
from kappa.ports.versions import VersionStore


class RejectedInput(msgspec.Struct, frozen=True):
    """A piece of input that could not become an event: the dead letter of ingestion.

    Attributes:
        source: The source's name, as in the log.
        place: Where in the source, unique within it: the byte offset or the row number.
        line: The line or row number, from 1, for people.
        value: Its first 64 KiB.
        size_bytes: Its whole size.
        reason: What was expected and what was found.
    """

    source: str
    place: int
    line: int
    value: bytes
    size_bytes: int
    reason: str


class RejectedStore(Protocol):
    """What could not be ingested. Every method is one transaction."""

    def reject(self, inputs: Sequence[RejectedInput]) -> None:
        """Record rejected input. An entry whose source and place are already there is replaced."""

    def rejected(
        self, *, limit: int, source: str | None = None, after: tuple[str, int] | None = None
    ) -> Sequence[RejectedInput]:
        """Return at most `limit` entries ordered by source and place, beginning behind the (source, place) `after`."""

    def rejected_count(self) -> int:
        """Return how many entries there are."""

    def accept(self, source: str, place: int) -> None:
        """Forget one rejected input, because it has been ingested after all. Idempotent."""


class ControlStore(VersionStore, ReleaseStore, PlanStore, RejectedStore, Protocol):
    """Small, strongly consistent state of a project: all of the above in one store."""

    def report(self, report: RunReport) -> None:
        """Replace the report on the running versions."""

    def last_report(self) -> RunReport | None:
        """Return the last report, or None if there never was one. Its age says whether anything runs."""

    def close(self) -> None:
        """Release files and connections. Idempotent."""
