"""Replay: a log folded from its start, its rows committed at the end; one process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

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


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    values = shop_values(settings.events, settings.keys)
    log_file = ingest(new_project(settings.folder / "replay"), events=settings.events, keys=settings.keys)
    expected = yardstick.fold(values)
    bytewax_flow.check(values[:20_000])

    def kappa(view: type[View]) -> float:
        folder = settings.folder / "rows"
        with Fold(log_file, view, SqliteViews(folder), pace=Pace()) as fold:
            result = timed(fold.run, events=len(values))
            assert fold.rows() == expected, view
        shutil.rmtree(folder)
        return result

    def bytewax_stored() -> float:
        folder = settings.folder / "bytewax"
        folder.mkdir()
        result = timed(lambda: bytewax_flow.stored(values, folder / "rows.db"), events=len(values))
        shutil.rmtree(folder)
        return result

    rates = in_turns(
        {
            "yardstick": lambda: timed(lambda: yardstick.fold(values), events=len(values)),
            "kappa, folds": lambda: kappa(ByFolds),
            "kappa, handlers": lambda: kappa(ByHandlers),
            "bytewax, as documented": lambda: timed(lambda: bytewax_flow.documented(values), events=len(values)),
            "bytewax, tuned": lambda: timed(lambda: bytewax_flow.tuned(values), events=len(values)),
            "bytewax, rows stored": bytewax_stored,
        },
        rounds=settings.rounds,
    )
    goal, faster = at_least_of_yardstick(0.75), at_least(4)
    return [
        rate(rates, "yardstick"),
        rate(rates, "kappa, folds", bound=goal),
        rate(rates, "kappa, handlers", bound=goal),
        rate(rates, "bytewax, as documented"),
        rate(rates, "bytewax, tuned"),
        rate(rates, "bytewax, rows stored"),
        ratio(rates, "kappa, folds", "bytewax, rows stored", bound=faster),
        ratio(rates, "kappa, handlers", "bytewax, rows stored", bound=faster),
        ratio(rates, "kappa, folds", "bytewax, as documented"),
        ratio(rates, "kappa, handlers", "bytewax, as documented"),
        ratio(rates, "kappa, folds", "bytewax, tuned"),
        ratio(rates, "kappa, handlers", "bytewax, tuned"),
    ]
