"""List the versions of views: what each one is, how far it is, what it serves, and what troubles it.

Reads, and changes nothing. Slower than `status`: it counts the rows of stopped versions too, and reads the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from kappa.control.following import recent
from kappa.control.status import VersionStatus, read_versions
from kappa.errors import KappaError, ViewNotFound
from kappa.model.schema import ViewTable
from kappa.planning.diffs import incomparable
from kappa.planning.releases import traffic_percent
from kappa.planning.states import VersionState
from kappa.ports import ControlStore, Log, Release, RunReport, Seed, Version, ViewStore


class VersionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A version as `kappa versions` shows it.

    Attributes:
        view, version: Which one.
        state: See `planning.states`.
        traffic_percent: The share of the view's keys that it serves.
        fingerprint: Of its code.
        bundle: Id of the bundle it runs from.
        current_code: Whether its code is that of the project's folder.
        comparable: Whether its rows can be compared with the primary's.
        position: Partition -> next offset to fold.
        lag: Records until the end of its log; 0 once stopped.
        rows, dead_letters, size_bytes: What it holds.
        created_at: When it was deployed.
        retired_at: When it was retired or aborted, or None.
        dropped_at: When its rows were deleted, or None.
        seed: Where its first rows came from; None for a full replay.
        seed_note: What a check of the seed found.
        trouble: What its workers last died of, or why they do not run; a sentence each.
    """

    view: str
    version: int
    state: VersionState
    traffic_percent: float
    fingerprint: str
    bundle: str
    current_code: bool
    comparable: bool
    position: Mapping[int, int]
    lag: int
    rows: int
    dead_letters: int
    size_bytes: int
    created_at: datetime
    retired_at: datetime | None
    dropped_at: datetime | None
    seed: Seed | None
    seed_note: str
    trouble: tuple[str, ...]


class VersionList(msgspec.Struct, frozen=True):
    """Versions, by view and number.

    Attributes:
        taken_at: When this was read, aware UTC.
        versions: An entry each.
        code_trouble: Why the code of the project's folder could not be compared with them; empty if it was.
    """

    taken_at: datetime
    versions: Sequence[VersionEntry]
    code_trouble: str = ""


def list_versions(
    view: str | None,
    *,
    control: ControlStore,
    views: ViewStore,
    logs: Mapping[str, Log],
    fingerprints: Callable[[], Mapping[str, str]],
    now: datetime,
) -> VersionList:
    """List the versions of a view, or of all.

    Args:
        view: The view, or None.
        control: Says what is deployed and served.
        views: Holds the rows.
        logs: Those that exist.
        fingerprints: Returns view -> fingerprint of the project folder's code, which may be broken.
        now: The time.

    Raises:
        ViewNotFound: The view was never deployed.
    """
    release = control.release()
    versions = control.versions(view)
    if view is not None and not versions:
        raise ViewNotFound(view=view, known=tuple(release.primaries))
    code: Mapping[str, str] = {}
    code_trouble = ""
    try:
        code = fingerprints()
    except KappaError as error:
        code_trouble = error.message
    primaries = {
        each.table.view: each for each in versions if release.primaries.get(each.table.view) == each.table.version
    }
    statuses = read_versions(versions, release, logs=logs, views=views)
    workers = _troubles(recent(control.last_report(), now=now))
    entries = [
        _entry(
            version,
            status,
            release,
            code=code,
            primary=primaries.get(version.table.view, version).table,
            trouble=workers.get(version.table.name, ()),
        )
        for version, status in zip(versions, statuses, strict=True)
    ]
    return VersionList(now, entries, code_trouble)


def _entry(
    version: Version,
    status: VersionStatus,
    release: Release,
    *,
    code: Mapping[str, str],
    primary: ViewTable,
    trouble: tuple[str, ...],
) -> VersionEntry:
    view, number = version.table.view, version.table.version
    return VersionEntry(
        view=view,
        version=number,
        state=status.state,
        traffic_percent=traffic_percent(release, view, number),
        fingerprint=version.fingerprint,
        bundle=version.bundle,
        current_code=code.get(view) == version.fingerprint,
        comparable=incomparable(primary, version.table) is None,
        position={each.partition: each.position for each in status.partitions},
        lag=status.lag,
        rows=status.rows,
        dead_letters=status.dead_letters,
        size_bytes=status.size_bytes,
        created_at=version.created_at,
        retired_at=version.retired_at,
        dropped_at=version.dropped_at,
        seed=version.seed,
        seed_note=version.seed_note,
        trouble=trouble,
    )


def _troubles(report: RunReport | None) -> dict[str, tuple[str, ...]]:
    """Return table name -> what its workers suffer from."""
    troubles: dict[str, tuple[str, ...]] = {}
    for worker in report.workers if report is not None else ():
        if worker.state != "running" or worker.detail:
            said = (
                f"{worker.name} {worker.state}: {worker.detail}" if worker.detail else f"{worker.name} {worker.state}"
            )
            troubles[worker.table] = (*troubles.get(worker.table, ()), said)
    return troubles
