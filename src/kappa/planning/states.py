"""Say in which state of its life a version is. Pure, and the one rule for all who show or ask for it."""

from __future__ import annotations

from enum import StrEnum

from kappa.model.records import Position
from kappa.ports.release import Release
from kappa.ports.versions import Version


class VersionState(StrEnum):
    """The states of a version, from its deployment to its end."""

    SEEDING = "seeding"
    DEPLOYED = "deployed"
    REPLAYING = "replaying"
    CAUGHT_UP = "caught-up"
    CANARY = "canary"
    PRIMARY = "primary"
    WARM = "warm"
    RETIRED = "retired"
    ABORTED = "aborted"

    @property
    def stopped(self) -> bool:
        """Whether it is stopped for good."""
        return self in {VersionState.RETIRED, VersionState.ABORTED}


def state_of(version: Version, release: Release, *, position: Position, behind: int) -> VersionState:
    """Return the state of a version.

    Args:
        version: The version.
        release: The current one.
        position: What the version has folded.
        behind: How many records its primary holds and it does not.
    """
    view, number = version.table.view, version.table.version
    canary, former = release.canaries.get(view), release.formers.get(view)
    if version.aborted:
        state = VersionState.ABORTED
    elif version.retired_at is not None:
        state = VersionState.RETIRED
    elif release.primaries.get(view) == number:
        state = VersionState.PRIMARY
    elif canary and canary.version == number:
        state = VersionState.CANARY
    elif former and former.version == number:
        state = VersionState.WARM
    elif not version.seeded:
        state = VersionState.SEEDING
    elif behind == 0:
        state = VersionState.CAUGHT_UP
    else:
        state = VersionState.REPLAYING if any(position.values()) else VersionState.DEPLOYED
    return state
