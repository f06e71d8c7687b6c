"""`python -m kappa.worker`: one worker process of the embedded engine, wired. Not for people; see `kappa up`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kappa.adapters.embedded.fold import FoldWorker, Pace
from kappa.adapters.embedded.process import Waiter, Worker, WorkerProcess
from kappa.adapters.embedded.repartition import Repartitioner
from kappa.app import App
from kappa.config import load_settings
from kappa.control.versions import check_code
from kappa.errors import ViewNotFound
from kappa.model.kernel import Kernel
from kappa.model.rekeying import Rekeying
from kappa.model.schema import ViewTable


def main(arguments: Sequence[str]) -> int:
    """Run one worker until it is asked to stop; return the exit code.

    Args:
        arguments: Project folder, then `fold VIEW VERSION GROUP` or `repartition LOG FIELD ...`.
    """
    root, kind, *rest = arguments

    def start(waiter: Waiter) -> Worker:
        app = App(load_settings(Path(root), os.environ))
        if kind == "repartition":
            log, *fields = rest
            return repartitioner(app, waiter, log, tuple(fields))
        view, version, group = rest
        return fold_worker(app, waiter, view, int(version), int(group))

    return WorkerProcess().run(start)


def fold_worker(app: App, waiter: Waiter, view: str, version: int, group: int) -> FoldWorker:
    """Wire the worker that folds one partition group of a deployed version.

    Raises:
        ViewNotFound: There is no such version.
        ViewChanged: The project's code is no longer the version's.
    """
    deployed = next((known for known in app.control.versions(view) if known.table.version == version), None)
    if deployed is None:
        raise ViewNotFound(view=view, known=tuple(app.control.release().primaries))
    check_code(deployed, app.project, app.fingerprints)
    table: ViewTable = deployed.table
    writer = app.views.writer(table, group, epoch=app.control.next_epoch(table, group))
    engine = app.settings.engine
    kernel = Kernel(
        app.project.views[view],
        events=app.project.events.values(),
        load=writer.get_many,
        rows_max=engine.cache_rows,
        store_empty=not writer.has_rows(),
    )
    pace = Pace(live_commit_s=engine.commit_interval_s)
    return FoldWorker(app.open_log(table.log), writer, kernel, pace=pace, waiter=waiter)


def repartitioner(app: App, waiter: Waiter, log: str, fields: tuple[str, ...]) -> Repartitioner:
    """Wire the worker that copies the event log into one partitioned by other fields."""
    rekeying = Rekeying(fields, app.project.events.values())
    return Repartitioner(app.events, app.open_log(log), rekeying, reject=app.control.reject, waiter=waiter)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
