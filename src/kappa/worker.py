"""`python -m kappa.worker`: one worker process of the embedded engine, wired. Not for people; see `kappa up`.

It runs the code of versions from their bundles, with the settings that it is handed: the project's files and the folder
that it is started in may change or vanish.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from kappa.adapters.embedded.fold import FoldWorker, Pace
from kappa.adapters.embedded.process import Worker, WorkerProcess
from kappa.adapters.embedded.repartition import Repartitioner
from kappa.config import WORKER_SETTINGS, decode_settings
from kappa.control.code import ViewCode
from kappa.errors import BundleDamaged, BundleNotFound, ProjectError, VersionNotFound
from kappa.model.kernel import Kernel
from kappa.model.rekeying import Rekeying
from kappa.opened import OpenProject
from kappa.ports import Version
from kappa.ports.waiting import Waiter


def main(arguments: Sequence[str]) -> int:
    """Run one worker until it is asked to stop; return the exit code.

    Args:
        arguments: `fold VIEW VERSION GROUP` or `repartition LOG`.
    """
    kind, *rest = arguments

    def start(waiter: Waiter) -> Worker:
        project = OpenProject(decode_settings(os.environ[WORKER_SETTINGS]))
        if kind == "repartition":
            return repartitioner(project, waiter, *rest)
        view, version, group = rest
        return fold_worker(project, waiter, view, int(version), int(group))

    return WorkerProcess().run(start)


def fold_worker(project: OpenProject, waiter: Waiter, view: str, version: int, group: int) -> FoldWorker:
    """Wire the worker that folds one partition group of a deployed version.

    Raises:
        VersionNotFound: There is no such version.
        BundleDamaged: The code is not what was deployed.
        ProjectError: The code cannot be imported any more.
    """
    deployed = next((known for known in project.control.versions(view) if known.table.version == version), None)
    if deployed is None:
        raise VersionNotFound(view=view, version=version)
    code, table = project.bundles.code(deployed), deployed.table
    # Ends here if whoever started this process has died: the worker of the next one must not be fenced.
    waiter.wait(0)
    writer = project.views.writer(table, group, epoch=project.control.next_epoch(table, group))
    engine = project.settings.engine
    kernel = Kernel(
        code.view,
        events=code.events,
        load=writer.get_many,
        rows_max=engine.cache_rows,
        store_empty=not writer.has_rows(),
    )
    pace = Pace(live_commit_s=engine.commit_interval_s)
    return FoldWorker(project.open_log(table.log), writer, kernel, pace=pace, waiter=waiter)


def repartitioner(project: OpenProject, waiter: Waiter, log: str) -> Repartitioner:
    """Wire the worker that copies the event log into one partitioned by other fields.

    Raises:
        ProjectError, BundleDamaged, BundleNotFound: No version that reads the log has code that can be used.
    """
    readers = [
        version for version in project.control.versions() if version.table.log == log and version.retired_at is None
    ]
    version, code = _newest_usable(project, sorted(readers, key=lambda reader: reader.created_at, reverse=True))
    rekeying = Rekeying(tuple(column.name for column in version.table.key), code.events)
    return Repartitioner(project.events, project.open_log(log), rekeying, reject=project.control.reject, waiter=waiter)


def _newest_usable(project: OpenProject, versions: Sequence[Version]) -> tuple[Version, ViewCode]:
    """Return the newest version whose code can be used: a candidate's must not stop what others read."""
    *newer, oldest = versions
    for version in newer:
        try:
            return version, project.bundles.code(version)
        except (ProjectError, BundleDamaged, BundleNotFound):
            continue
    return oldest, project.bundles.code(oldest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
