"""Say what a version of a project's view is, and deploy the first one. It starts and stops nothing.

A version is what was deployed: code with a fingerprint, a table, a log. Deployed versions never change; changed code is
a new version. The first version of a view is primary at once, for there is nothing better to show; others are planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from kappa.control.bundles import Bundles
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.history import new_entry
from kappa.control.project import Project
from kappa.errors import KappaError
from kappa.model.fingerprint import combine
from kappa.model.schema import ViewTable
from kappa.model.views import View, ViewSpec, view_spec
from kappa.ports import ControlStore, Deployment, Seed, Version, ViewStore
from kappa.ports.log import EVENT_LOG


class LogLayout(msgspec.Struct, frozen=True):
    """What a view must know about the logs: the event log's key, partitions, and how many groups read them."""

    key: str
    partition_count: int
    group_count: int


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


def deployment_of(
    view: type[View],
    version: int,
    *,
    parts: Mapping[str, str],
    bundle: str,
    layout: LogLayout,
    seed: Seed | None = None,
) -> Deployment:
    """Return what makes a version of a view: `parts` is what its fingerprint is made of, `bundle` holds its code."""
    spec = view_spec(view)
    return Deployment(
        table=table_of(spec, version, layout),
        fingerprint=combine(parts),
        parts=parts,
        bundle=bundle,
        seed=seed,
        expectations=spec.expect,
    )


class FirstVersions:
    """Deploys the views of a project that have no version yet, so that they can be run."""

    def __init__(
        self, root: Path, modules: Sequence[str], *, bundles: Bundles, control: ControlStore, store: ViewStore
    ) -> None:
        """Prepare for the project in `root`, defined in `modules`."""
        self._root, self._modules = root, modules
        self._bundles, self._control, self._store = bundles, control, store

    def deploy(self, load: Callable[[], Project], *, layout: LogLayout, actor: str) -> tuple[str, ...]:
        """Deploy what is not, and make it primary; return what people should know about the others.

        Interrupted anywhere, the same call again goes on where it stopped. Code that is broken or unsound hinders
        nothing that is deployed already.

        Args:
            load: Returns the project's code, if it is sound.
            layout: For new versions.
            actor: Who does it.

        Raises:
            KappaError: `load` fails, and there is a view that is not served yet, or none at all.
        """
        try:
            project = load()
        except KappaError as error:
            if not self._all_served():
                raise
            where = f" ({error.where})" if error.where else ""
            return (f"the project's code cannot be used, so what is deployed runs: {error.message}{where}",)
        served = self._control.release().primaries
        first = [self._first(view, layout) for name, view in project.views.items() if name not in served]
        if first:
            serve_first(first, control=self._control, actor=actor)
        return tuple(changed_code(project, self._root, self._control))

    def _all_served(self) -> bool:
        primaries = self._control.release().primaries
        live = {version.table.view for version in self._control.versions() if version.retired_at is None}
        return bool(primaries) and live <= primaries.keys()

    def _first(self, view: type[View], layout: LogLayout) -> Version:
        known = self._control.versions(view_spec(view).name)
        live = [version for version in known if version.retired_at is None and version.seeded]
        version = live[-1] if live else self._deploy(view, len(known) + 1, layout)
        self._store.create(version.table)
        return version

    def _deploy(self, view: type[View], number: int, layout: LogLayout) -> Version:
        bundle = self._bundles.store(self._root, self._modules)
        parts = fingerprint_parts(view, self._root)
        deployment = deployment_of(view, number, parts=parts, bundle=bundle, layout=layout)
        # Code that does something else in a bundle than in the working tree is found now, not by its workers.
        self._bundles.code(deployment)
        return self._control.deploy(deployment)


def serve_first(versions: Sequence[Version], *, control: ControlStore, actor: str) -> None:
    """Make versions of views that have no primary yet primary at once, for there is nothing better to show.

    Raises:
        ReleaseMoved: Somebody else changed the release meanwhile.
    """
    release = control.release()
    first = {version.table.view: version.table.version for version in versions}
    names = ", ".join(f"{view} v{version}" for view, version in first.items())
    control.change_release(
        msgspec.structs.replace(release, revision=release.revision + 1, primaries={**release.primaries, **first}),
        expected_revision=release.revision,
        entry=new_entry(actor, "deploy", detail=f"{names}, primary at once"),
    )


def changed_code(project: Project, root: Path, control: ControlStore) -> Iterator[str]:
    """Say of which served views no version runs the project's code, a sentence each."""
    live = [version for version in control.versions() if version.retired_at is None]
    for name, number in control.release().primaries.items():
        if name not in project.views:
            yield f"{name} is not in the project's code any more; v{number} goes on"
            continue
        fingerprint = combine(fingerprint_parts(project.views[name], root))
        if all(version.fingerprint != fingerprint for version in live if version.table.view == name):
            yield f"{name} has changed since v{number} was deployed: kappa plan"
