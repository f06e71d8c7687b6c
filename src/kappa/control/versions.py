"""Decide which versions of a project's views are to run, and record new ones. It starts and stops nothing.

A version is what was deployed: code with a fingerprint, a table, a log. Deployed versions never change; changed code is
a new version, which replays the log beside the old one and takes over when it has caught up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kappa.control.project import Project
from kappa.errors import ViewChanged
from kappa.model.schema import ViewTable
from kappa.model.views import ViewSpec, view_spec
from kappa.ports import ControlStore, Version, ViewStore
from kappa.ports.log import EVENT_LOG


class LogLayout(msgspec.Struct, frozen=True):
    """What a view must know about the logs: the event log's key, partitions, and how many groups read them."""

    key: str
    partition_count: int
    group_count: int


class RunPlan(msgspec.Struct, frozen=True):
    """Which versions to run.

    Attributes:
        versions: All of them, one per view of the project.
        candidates: Those that become primary once they have caught up; each is among `versions`.
    """

    versions: tuple[Version, ...]
    candidates: tuple[Version, ...]


def log_of(spec: ViewSpec, event_log_key: str) -> str:
    """Return the log that a view reads: the event log if it has the view's key, else one repartitioned by it."""
    return EVENT_LOG if spec.key == (event_log_key,) else f"{EVENT_LOG}-by-{'-'.join(spec.key)}"


def table_of(spec: ViewSpec, version: int, layout: LogLayout) -> ViewTable:
    """Return the table that a version of a view gets."""
    return ViewTable(
        view=spec.name,
        version=version,
        key=spec.key_columns,
        columns=spec.columns,
        log=log_of(spec, layout.key),
        partition_count=layout.partition_count,
        group_count=layout.group_count,
    )


def deploy_views(
    project: Project,
    fingerprints: Mapping[str, str],
    *,
    control: ControlStore,
    store: ViewStore,
    layout: LogLayout,
    rebuild: bool,
) -> RunPlan:
    """Record a version of each view whose code has none, and say which versions to run.

    The first version of a view is primary at once, for there is nothing better to show. Interrupted anywhere, the same
    call again goes on where it stopped.

    Args:
        project: The code.
        fingerprints: View name -> fingerprint of its code.
        control: Where versions are recorded.
        store: Where their tables are created.
        layout: For new versions.
        rebuild: Whether changed views get a new version.

    Raises:
        ViewChanged: A view's code differs from its primary version, and `rebuild` is false.
    """
    versions = []
    for name, view in project.views.items():
        known = [version for version in control.versions(name) if version.retired_at is None]
        primary = control.release().primaries.get(name)
        current = next((version for version in known if version.fingerprint == fingerprints[name]), None)
        if known and not rebuild and (current is None or current.table.version != primary):
            raise ViewChanged(view=name, version=primary or known[-1].table.version)
        if current is None:
            number = max((version.table.version for version in control.versions(name)), default=0) + 1
            table = table_of(view_spec(view), number, layout)
            current = control.deploy(table, fingerprint=fingerprints[name])
        store.create(current.table)
        versions.append(current)
    release = control.release()
    first = {
        version.table.view: version.table.version for version in versions if version.table.view not in release.primaries
    }
    if first:
        release = control.promote(first, expected_revision=release.revision)
    candidates = tuple(
        version for version in versions if release.primaries[version.table.view] != version.table.version
    )
    return RunPlan(tuple(versions), candidates)


def switch_to(candidates: Sequence[Version], *, control: ControlStore) -> None:
    """Make caught-up candidates primary, all in one step, and retire the versions they replace."""
    release = control.release()
    replaced = [(version.table.view, release.primaries[version.table.view]) for version in candidates]
    control.promote(
        {version.table.view: version.table.version for version in candidates}, expected_revision=release.revision
    )
    for view, version in replaced:
        control.retire(view, version)


def check_code(version: Version, project: Project, fingerprints: Mapping[str, str]) -> None:
    """Check that the project's code is the code of a deployed version.

    Raises:
        ViewChanged: It is not, or the view is gone from the project.
    """
    name = version.table.view
    if name not in project.views or fingerprints[name] != version.fingerprint:
        raise ViewChanged(view=name, version=version.table.version)
