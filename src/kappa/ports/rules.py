"""What a control store refuses, and what it records a deployment as: the same for every technology.

Pure: an adapter reads, asks, and writes, all in one transaction, so that what was read still holds. No SQL, no readers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from kappa.errors import Fenced, ReleaseMoved, VersionInUse
from kappa.model.schema import ViewTable
from kappa.ports.release import HistoryEntry, Release
from kappa.ports.versions import BUNDLE_BYTES_MAX, Deployment, Version


def bundle_id(content: bytes) -> str:
    """Return the id under which a bundle is stored: the hash of its content.

    >>> bundle_id(b"")[:12]
    'e3b0c44298fc'
    """
    assert len(content) <= BUNDLE_BYTES_MAX, len(content)
    return hashlib.sha256(content).hexdigest()


def refuse_used_bundle(bundle: str, users: Sequence[tuple[str, int]]) -> None:
    """Refuse to delete a bundle from which versions run that are not dropped, given as view and number.

    Raises:
        VersionInUse: There is one.
    """
    for view, version in users:
        reason = f"runs from bundle {bundle[:12]}, which cannot be deleted before the version is dropped"
        raise VersionInUse(view=view, version=version, reason=reason)


def recorded_as(deployment: Deployment, versions: Sequence[Version]) -> Version | None:
    """Return the version that a deployment is recorded as, with what is now expected of it, or None if it is the next.

    Args:
        deployment: What is to be deployed.
        versions: All versions of its view, by number.

    Raises:
        VersionInUse: The number is taken by another deployment, or leaves a gap.
    """
    table = deployment.table
    if 1 <= table.version <= len(versions):
        version = versions[table.version - 1]
        # As it is once stored: otherwise a list would differ from an equal tuple.
        wanted = msgspec.json.decode(msgspec.json.encode(deployment), type=Deployment)
        expected_now = msgspec.structs.replace(version, expectations=wanted.expectations)
        if all(getattr(expected_now, name) == getattr(wanted, name) for name in Deployment.__struct_fields__):
            return expected_now
    if table.version != len(versions) + 1:
        reason = f"cannot be deployed: the next version is v{len(versions) + 1}"
        raise VersionInUse(view=table.view, version=table.version, reason=reason)
    return None


def refuse_fenced_seed(table: ViewTable, *, epochs: Mapping[int, int], given: Mapping[int, int]) -> None:
    """Refuse the seed of whoever was replaced while making it.

    Args:
        table: The version's table.
        epochs: group -> the epoch under which its seed was written, of every group.
        given: group -> the epoch that was given out last.

    Raises:
        Fenced: A newer epoch was given out for one of the groups.
    """
    assert epochs.keys() == set(range(table.group_count)), (epochs, table)
    for group, epoch in epochs.items():
        if (current := given.get(group, 0)) > epoch:
            raise Fenced(table=table.name, group=group, epoch=epoch, current=current)


def refuse_retiring(view: str, version: int, release: Release) -> None:
    """Refuse to retire a version that the release names.

    Raises:
        VersionInUse: It does.
    """
    if release.names(view, version):
        reason = "is primary, a canary, or what a rollback returns to: it cannot be retired"
        raise VersionInUse(view=view, version=version, reason=reason)


def refuse_release(release: Release, *, current: Release, expected_revision: int, versions: Sequence[Version]) -> None:
    """Refuse a release that was made from another than the current one, or that shows what cannot be shown.

    Args:
        release: What is to become the release.
        current: The release as it is.
        expected_revision: Of the release that the new one was made from.
        versions: All that are deployed.

    Raises:
        ReleaseMoved: The current revision is not `expected_revision`.
        VersionInUse: It names a version that is not deployed, not seeded, or retired.
    """
    if current.revision != expected_revision:
        raise ReleaseMoved(expected=expected_revision, found=current.revision)
    deployed = {(version.table.view, version.table.version): version for version in versions}
    for view, number in release.named():
        match deployed.get((view, number)):
            case None:
                reason = "is not deployed"
            case Version(seeded=False):
                reason = "is not seeded yet"
            case Version(retired_at=None):
                continue
            case _:
                reason = "is retired"
        raise VersionInUse(view=view, version=number, reason=f"{reason}: the release cannot name it")


def retired_with(release: Release, retiring: Sequence[HistoryEntry]) -> Iterator[tuple[str, int]]:
    """Yield view and number of each version that is retired together with a change of the release.

    Args:
        release: What is to become the release.
        retiring: What is recorded about them.

    Raises:
        VersionInUse: The release names one of them.
    """
    for entry in retiring:
        assert entry.view is not None, entry
        assert entry.version is not None, entry
        refuse_retiring(entry.view, entry.version, release)
        yield entry.view, entry.version
