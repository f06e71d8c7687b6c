"""Ingest: an NDJSON file into an empty log, by the command line, starting included."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from bench import yardstick
from bench.data import shop_values
from bench.measure import Figure, at_least, in_turns, rate, timed
from bench.project import ingest, new_project
from bench.settings import Settings


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    events, keys = settings.events, settings.keys
    values = shop_values(events, keys)

    def kappa() -> float:
        project = new_project(settings.folder / "ingest")
        result = timed(lambda: ingest(project, events=events, keys=keys), events=events)
        shutil.rmtree(project)
        return result

    rates = in_turns(
        {"yardstick": lambda: timed(lambda: yardstick.fold(values), events=events), "kappa": kappa},
        rounds=settings.rounds,
    )
    return [rate(rates, "yardstick"), rate(rates, "kappa", bound=at_least(200_000))]
