"""How a release changes: shift, promote, roll back, let go. Each function takes a release and returns the next one.

Pure: whether a version exists, has caught up and has been compared is for the caller to know. What always holds: the
revision rises by one, and neither a canary nor a former is the primary of its view.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec

from kappa.errors import InputError, ReleaseRefused, ViewNotFound
from kappa.model.records import Position
from kappa.model.routing import BUCKET_COUNT, in_share
from kappa.ports.release import Canary, Former, Release

T = TypeVar("T")

SHARE_PERCENT_MIN = 100 / BUCKET_COUNT


def serving(release: Release, view: str, key: bytes) -> int:
    """Return the version that serves a record key of a view.

    Raises:
        ViewNotFound: The view has no primary.
    """
    primary = primary_of(release, view)
    canary = release.canaries.get(view)
    return canary.version if canary and in_share(view, key, canary.percent) else primary


def primary_of(release: Release, view: str) -> int:
    """Return the primary of a view.

    Raises:
        ViewNotFound: It has none.
    """
    if view not in release.primaries:
        raise ViewNotFound(view=view, known=tuple(release.primaries))
    return release.primaries[view]


def traffic_percent(release: Release, view: str, version: int) -> float:
    """Return which share of a view's keys a version serves.

    >>> release = Release(3, {"carrier": 1}, {"carrier": Canary(2, 10.0)})
    >>> [traffic_percent(release, "carrier", version) for version in (1, 2, 3)]
    [90.0, 10.0, 0.0]
    """
    canary = release.canaries.get(view)
    if canary and canary.version == version:
        return canary.percent
    if release.primaries.get(view) == version:
        return 100.0 - (canary.percent if canary else 0.0)
    return 0.0


def is_share(percent: float) -> bool:
    """Say whether a candidate can have such a share: whole hundredths of a percent, and some.

    >>> [is_share(percent) for percent in (0.01, 33.33, 100.0, 0.0, 0.015, 100.01)]
    [True, True, True, False, False, False]
    """
    # A float near a hundredth means that hundredth: 33.33 is none exactly.
    return SHARE_PERCENT_MIN <= percent <= 100 and math.isclose(percent, round(percent, 2), abs_tol=1e-9)  # noqa: PLR2004 - %


def wanted_share(view: str, primary: int, shares: Mapping[int, float]) -> tuple[int, float]:
    """Return which version gets which share, of shares as people give them: the candidate's, or all versions'.

    >>> wanted_share("carrier", 1, {2: 10.0}), wanted_share("carrier", 1, {1: 90.0, 2: 10.0})
    ((2, 10.0), (2, 10.0))

    Raises:
        InputError: A share is no percentage, they do not add up to 100, or not exactly one version is a candidate.
    """
    given = " ".join(f"v{version}={percent:g}" for version, percent in shares.items())
    for version, percent in shares.items():
        if not (percent == 0 or is_share(percent)):
            raise InputError(
                f"the share of {view} v{version} must be 0, or {SHARE_PERCENT_MIN} to 100 percent in whole hundredths: "
                f"got {percent:g}",
                next_step=f"for example: kappa shift {view} v{version}=10",
            )
    candidates = [version for version in shares if version != primary]
    if len(candidates) != 1:
        raise InputError(
            f"expected the share of one candidate of {view} beside v{primary}, the primary; got {given}",
            next_step=f"kappa versions {view} lists the candidates; for example: kappa shift {view} v{primary + 1}=10",
        )
    if primary in shares and round(sum(shares.values()), 6) != 100:  # noqa: PLR2004 - percent
        raise InputError(
            f"the shares of {view} add up to {sum(shares.values()):g} percent, not 100: {given}",
            next_step=f"give the candidate's alone, v{primary} keeps the rest: kappa shift {view} v{candidates[0]}=10",
        )
    return candidates[0], shares[candidates[0]]


def shifted(release: Release, view: str, version: int, percent: float) -> Release:
    """Serve a share of a view's keys, 0 <= percent <= 100, from a version; 0 takes its share back.

    Raises:
        ViewNotFound: The view has no primary to share with.
        ReleaseRefused: The version is the primary, or another one has a share.
    """
    if primary_of(release, view) == version:
        raise ReleaseRefused(
            view=view,
            version=version,
            reason="is primary: it serves what no candidate does",
            next_step=f"give the candidate its share: kappa shift {view} vN=10",
        )
    canary = release.canaries.get(view)
    if canary and canary.version != version:
        raise ReleaseRefused(
            view=view,
            version=version,
            reason=f"cannot have a share: v{canary.version} serves {canary.percent:g} % of the keys already",
            next_step=f"take that back first: kappa shift {view} v{canary.version}=0",
        )
    canaries = _without(release.canaries, view)
    return _next(release, canaries=canaries | {view: Canary(version, percent)} if percent else canaries)


def promoted(release: Release, versions: Mapping[str, int], cutovers: Mapping[str, Position]) -> Release:
    """Make versions the primaries of their views; what they replace becomes what a rollback returns to.

    A canary of these views ends.

    Args:
        release: The current one.
        versions: View -> version, none of them primary yet.
        cutovers: View -> what its former primary must hold before a rollback; for views that have a primary.
    """
    assert all(release.primaries.get(view) != version for view, version in versions.items()), (release, versions)
    revision = release.revision + 1
    formers = {
        view: Former(release.primaries[view], cutovers[view], revision)
        for view in versions
        if view in release.primaries
    }
    return _next(
        release,
        primaries={**release.primaries, **versions},
        canaries=_without(release.canaries, *versions),
        formers={**release.formers, **formers},
    )


def displaced(before: Release, after: Release) -> dict[str, int]:
    """Return view -> the former that a rollback cannot return to any more.

    >>> displaced(Release(5, {"a": 2}, formers={"a": Former(1, {}, 5)}), Release(6, {"a": 3}))
    {'a': 1}
    """
    return {view: former.version for view, former in before.formers.items() if not after.names(view, former.version)}


def last_promoted(release: Release) -> tuple[str, ...]:
    """Return the views of the last promotion that can be rolled back; they were promoted together.

    >>> last_promoted(Release(5, {}, formers={"a": Former(1, {}, 4), "b": Former(2, {}, 3), "c": Former(1, {}, 4)}))
    ('a', 'c')
    """
    last = max((former.revision for former in release.formers.values()), default=0)
    return tuple(sorted(view for view, former in release.formers.items() if former.revision == last))


def rolled_back(release: Release, views: Collection[str]) -> Release:
    """Make the former primaries of views their primaries again. A canary of these views ends.

    Raises:
        ViewNotFound: One of the views has no primary.
        ReleaseRefused: One of them has nothing to go back to.
    """
    for view in views:
        if view not in release.formers:
            raise ReleaseRefused(
                view=view,
                version=primary_of(release, view),
                reason="replaced no version that is still kept: there is nothing to roll back to",
                next_step=f"promote another version: kappa versions {view}",
            )
    return _next(
        release,
        primaries={**release.primaries, **{view: release.formers[view].version for view in views}},
        canaries=_without(release.canaries, *views),
        formers=_without(release.formers, *views),
    )


def missing(position: Position, target: Position) -> dict[int, int]:
    """Return partition -> how many records lie between a position and a target, where there are any.

    >>> missing({0: 5, 1: 7}, {0: 9, 1: 7, 2: 1})
    {0: 4, 2: 1}
    """
    return {
        partition: end - position.get(partition, 0)
        for partition, end in sorted(target.items())
        if end > position.get(partition, 0)
    }


def without(release: Release, view: str, version: int) -> Release:
    """Let go of a version that is not primary: take its share back, and do not roll back to it."""
    assert release.primaries.get(view) != version, (release, view, version)
    canary, former = release.canaries.get(view), release.formers.get(view)
    return _next(
        release,
        canaries=_without(release.canaries, view) if canary and canary.version == version else release.canaries,
        formers=_without(release.formers, view) if former and former.version == version else release.formers,
    )


def without_view(release: Release, view: str) -> Release:
    """Serve a view no longer."""
    return _next(
        release,
        primaries=_without(release.primaries, view),
        canaries=_without(release.canaries, view),
        formers=_without(release.formers, view),
    )


def _next(release: Release, **changes: Any) -> Release:
    return msgspec.structs.replace(release, revision=release.revision + 1, **changes)


def _without(mapping: Mapping[str, T], *views: str) -> dict[str, T]:
    return {view: value for view, value in mapping.items() if view not in views}
