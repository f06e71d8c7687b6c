"""PostgreSQL: a log folded into a table there, live and in replay, beside the same into SQLite; one process.

Needs a server: KAPPA_POSTGRES_DSN says which. Everything it makes is in schemas `kappa_bench...`, dropped afterwards.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

import psycopg

from bench import yardstick
from bench.data import shop_values
from bench.embedded import Fold
from bench.measure import Figure, at_least, in_turns, rate, ratio, timed
from bench.profiles import ByFolds
from bench.project import ingest, new_project
from bench.settings import Settings
from kappa.adapters.embedded.fold import Pace
from kappa.adapters.postgres.opening import open_views
from kappa.adapters.sqlite.views import SqliteViews
from kappa.ports import ViewStore

LIVE = Pace(live_commit_s=1.0, replay_commit_s=1.0)
REPLAY = Pace()
PREFIX = "kappa_bench"


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    if (dsn := os.environ.get("KAPPA_POSTGRES_DSN")) is None:
        sys.exit(
            "error: this benchmark needs a server\nnext:  KAPPA_POSTGRES_DSN=postgresql://... python -m bench postgres"
        )
    values = shop_values(settings.events, settings.keys)
    log_file = ingest(new_project(settings.folder / "postgres"), events=settings.events, keys=settings.keys)
    expected = yardstick.fold(values)

    def folded(store: ViewStore, pace: Pace) -> float:
        with Fold(log_file, ByFolds, store, pace=pace) as fold:
            result = timed(fold.run, events=len(values))
            assert fold.rows() == expected
        return result

    def sqlite(pace: Pace) -> float:
        folder = settings.folder / "rows"
        result = folded(SqliteViews(folder), pace)
        shutil.rmtree(folder)
        return result

    def postgres(pace: Pace) -> float:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {PREFIX}_views CASCADE")
            connection.execute("CHECKPOINT")
            result = folded(open_views(dsn, schema_prefix=PREFIX), pace)
            connection.execute(f"DROP SCHEMA {PREFIX}_views CASCADE")
        return result

    rates = in_turns(
        {
            "yardstick": lambda: timed(lambda: yardstick.fold(values), events=len(values)),
            "live, SQLite": lambda: sqlite(LIVE),
            "live, PostgreSQL": lambda: postgres(LIVE),
            "replay, SQLite": lambda: sqlite(REPLAY),
            "replay, PostgreSQL": lambda: postgres(REPLAY),
        },
        rounds=settings.rounds,
    )
    return [
        rate(rates, "yardstick"),
        rate(rates, "live, SQLite"),
        rate(rates, "live, PostgreSQL", bound=at_least(100_000)),
        rate(rates, "replay, SQLite"),
        rate(rates, "replay, PostgreSQL", bound=at_least(250_000)),
        ratio(rates, "live, PostgreSQL", "live, SQLite"),
        ratio(rates, "replay, PostgreSQL", "replay, SQLite"),
    ]
