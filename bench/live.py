"""Live: the same work, but with what was folded made durable every second; by one worker process, and by two."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from bench import bytewax_flow, yardstick
from bench.data import shop_values
from bench.embedded import Fold
from bench.measure import Figure, at_least, at_least_of_yardstick, in_turns, rate, ratio, timed
from bench.profiles import ByFolds, ByHandlers
from bench.project import ingest, new_project
from bench.settings import Settings
from kappa.adapters.embedded.fold import Pace
from kappa.adapters.sqlite.views import SqliteViews
from kappa.model.views import View

COMMIT_S = 1.0
# A worker that died would keep the others waiting for ever.
WORK_S_MAX = 600


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    values = shop_values(settings.events, settings.keys)
    log_file = ingest(new_project(settings.folder / "live"), events=settings.events, keys=settings.keys)

    def kappa(view: type[View], workers: int) -> float:
        folder = settings.folder / "rows"
        folder.mkdir()
        result = len(values) / _fold_s(log_file, view, folder, workers=workers)
        shutil.rmtree(folder)
        return result

    def bytewax(flow: bytewax_flow.Flow) -> float:
        folder = settings.folder / "recovery"
        result = timed(lambda: flow(values, recovery=folder, epoch_s=COMMIT_S), events=len(values))
        shutil.rmtree(folder)
        return result

    rates = in_turns(
        {
            "yardstick": lambda: timed(lambda: yardstick.fold(values), events=len(values)),
            "kappa, folds": lambda: kappa(ByFolds, 1),
            "kappa, handlers": lambda: kappa(ByHandlers, 1),
            "kappa, folds, two workers": lambda: kappa(ByFolds, 2),
            "kappa, handlers, two workers": lambda: kappa(ByHandlers, 2),
            "bytewax, as documented": lambda: bytewax(bytewax_flow.documented),
            "bytewax, tuned": lambda: bytewax(bytewax_flow.tuned),
        },
        rounds=settings.rounds,
    )
    goal, faster, scaled = at_least_of_yardstick(0.33), at_least(2), at_least(1.4)
    return [
        rate(rates, "yardstick"),
        rate(rates, "kappa, folds", bound=goal),
        rate(rates, "kappa, handlers", bound=goal),
        rate(rates, "kappa, folds, two workers"),
        rate(rates, "kappa, handlers, two workers"),
        rate(rates, "bytewax, as documented"),
        rate(rates, "bytewax, tuned"),
        ratio(rates, "kappa, folds", "bytewax, as documented", bound=faster),
        ratio(rates, "kappa, handlers", "bytewax, as documented", bound=faster),
        ratio(rates, "kappa, folds", "bytewax, tuned"),
        ratio(rates, "kappa, handlers", "bytewax, tuned"),
        ratio(rates, "kappa, folds, two workers", "kappa, folds", bound=scaled),
        ratio(rates, "kappa, handlers, two workers", "kappa, handlers", bound=scaled),
    ]


def _fold_s(log_file: Path, view: type[View], folder: Path, *, workers: int) -> float:
    """Return how long worker processes take, from when all are ready to when all have committed the last row."""
    context = get_context("spawn")
    barrier = context.Barrier(workers + 1)
    processes = [
        context.Process(target=_work, args=(log_file, view, folder, group, workers, barrier))
        for group in range(workers)
    ]
    for process in processes:
        process.start()
    barrier.wait(WORK_S_MAX)
    start = time.perf_counter()
    barrier.wait(WORK_S_MAX)
    elapsed_s = time.perf_counter() - start
    for process in processes:
        process.join()
    return elapsed_s


def _work(log_file: Path, view: type[View], folder: Path, group: int, groups: int, barrier: Barrier) -> None:
    pace = Pace(live_commit_s=COMMIT_S, replay_commit_s=COMMIT_S)
    with Fold(log_file, view, SqliteViews(folder), pace=pace, group=group, groups=groups) as fold:
        barrier.wait(WORK_S_MAX)
        fold.run()
        barrier.wait(WORK_S_MAX)
