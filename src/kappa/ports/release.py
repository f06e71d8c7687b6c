"""The release: which version of each view readers see. It changes as a whole, by compare-and-swap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class Canary(msgspec.Struct, frozen=True):
    """A candidate that serves a share of the keys.

    Attributes:
        version: The candidate.
        percent: 0 < percent <= 100. Which keys is decided by `model.routing`.
    """

    version: int
    percent: float


class Former(msgspec.Struct, frozen=True):
    """What a rollback of a view returns to: its former primary, which stays warm.

    Attributes:
        version: The former primary.
        cutover: Position, partition -> next offset, of the version that replaced it, when it did.
        revision: The release revision that replaced it; views promoted together share it.
    """

    version: int
    cutover: Mapping[int, int]
    revision: int


class Release(msgspec.Struct, frozen=True):
    """Which version of each view readers see.

    Attributes:
        revision: Rises by one with each change; 0 before the first.
        primaries: View name -> version number.
        canaries: View name -> the candidate that serves a share of its keys.
        formers: View name -> what a rollback returns to.
    """

    revision: int
    primaries: Mapping[str, int]
    canaries: Mapping[str, Canary] = {}
    formers: Mapping[str, Former] = {}

    def names(self, view: str, version: int) -> bool:
        """Say whether the release needs a version: as primary, as a canary, or to roll back to."""
        return (view, version) in self.named()

    def named(self) -> Iterator[tuple[str, int]]:
        """Yield view and number of every version that the release needs."""
        yield from self.primaries.items()
        for view, canary in self.canaries.items():
            yield view, canary.version
        for view, former in self.formers.items():
            yield view, former.version


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to a project's versions.

    Attributes:
        id: Unique; recording an id again changes nothing, so that a resumed step is noted once.
        at: When, aware UTC.
        actor: Who: the user's name on that machine.
        action: What: `deploy`, `promote`, `roll-back`, `shift`, `abort`, `retire`, `plan`, `apply` and the like.
        view: Which view, or None for several.
        version: Which version, or None.
        detail: The rest, for people.
    """

    id: str
    at: datetime
    actor: str
    action: str
    view: str | None = None
    version: int | None = None
    detail: str = ""


class ReleaseStore(Protocol):
    """The release and the history of the project. Every method is one transaction."""

    def release(self) -> Release:
        """Return the current release, all of one moment."""

    def change_release(
        self, release: Release, *, expected_revision: int, entry: HistoryEntry, retiring: Sequence[HistoryEntry] = ()
    ) -> Release:
        """Make `release` the current one, retire versions that it needs no longer, and record it, all in one step.

        Args:
            release: Its revision must be `expected_revision` + 1.
            expected_revision: Of the current release.
            entry: What is recorded about the release.
            retiring: What is recorded about the versions to retire, each of which is an entry's own.

        Raises:
            ReleaseMoved: The current revision is not `expected_revision`. Nothing changed.
            VersionInUse: It names a version that is not deployed, not seeded, retired or retiring. Nothing changed.
        """

    def record(self, entry: HistoryEntry) -> None:
        """Record something that was done. Idempotent by id."""

    def history(self, *, view: str | None = None, limit: int) -> Sequence[HistoryEntry]:
        """Return the last entries, newest first: those about a view and those about several, or all."""
