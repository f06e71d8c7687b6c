"""The whole way, from topics through an engine to PostgreSQL, by both engines; beside them Flink without us.

On a stack of one broker in a folder of its own. Rates are taken between two looks at a running version, so the start of
a process or a job does not count; those of Flink alone are its own: from running to finished. Whoever writes rows must
have written the same ones as the others, or the run ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import psycopg

from bench import SHOP
from bench.data import shop_file
from bench.embedded import Fold
from bench.flink_alone import FlinkAlone
from bench.measure import Figure, at_least, at_most, in_turns, ratio, timed
from bench.profiles import ByFolds
from bench.project import KAPPA
from bench.settings import Settings
from kappa.adapters.embedded.fold import Pace
from kappa.adapters.flink.rest import FlinkRest
from kappa.app import App
from kappa.config import load_settings
from kappa.model.records import NewRecord
from kappa.ports import Version
from kappa.ports.log import EVENT_LOG
from kappa.stack import Stack

PROJECT = """
[project]
name = "{name}"
modules = ["customers"]
[log]
key = "user_id"
partitions = 4
[engine]
live_lag_max = 1000000000
"""
NAIVE_EVENTS_MAX = 500_000
FRESH_RATE, FRESH_S, BATCHES_PER_S = 20_000, 30, 10
LOOK_S = 0.05
FLINK = {"KAPPA_ENGINE_KIND": "flink"}
# Flink without us, giving what we give and giving less.
SQL, SQL_BARE = "Flink SQL", "Flink SQL, without rows or checkpoints"
NAIVE, NAIVE_BARE = "PyFlink by the book", "PyFlink by the book, without rows or checkpoints"
COLUMNS = {
    "user_id": "text PRIMARY KEY", "email": "text", "name": "text", "city": "text", "total_orders": "bigint",
    "total_spent": "numeric", "last_order_at": "timestamptz", "page_views": "bigint",
}  # fmt: skip


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    settings.folder.chmod(0o711)  # PostgreSQL's user goes through it
    naive_events = min(settings.events, NAIVE_EVENTS_MAX)
    with Stack(settings.folder / "stack", small=True, task_managers=1) as stack:
        alone = FlinkAlone(stack, settings.folder / "alone")
        whole = Place(settings, stack, alone, "whole", settings.events)
        part = Place(settings, stack, alone, "part", naive_events)
        rates = in_turns(
            {
                "embedded, live": lambda: whole.embedded(Pace(live_commit_s=1.0, replay_commit_s=1.0)),
                "embedded, replay": lambda: whole.embedded(Pace()),
                "embedded, replay, two workers": lambda: whole.running({"KAPPA_ENGINE_WORKERS": "2"}),
                "Flink, live": lambda: whole.running({**FLINK, "KAPPA_FLINK_PROFILE": "live"}),
                "Flink, replay": lambda: whole.running({**FLINK, "KAPPA_FLINK_PROFILE": "replay"}),
                SQL: lambda: whole.job("flink_sql.py"),
                SQL_BARE: lambda: whole.job("flink_sql.py", bare=True),
                NAIVE: lambda: part.job("flink_naive.py"),
                NAIVE_BARE: lambda: part.job("flink_naive.py", bare=True),
            },
            rounds=min(settings.rounds, 2),
        )
        fresh = whole.freshness(FRESH_S)
    return [
        Figure("embedded, live", "events/s", rates["embedded, live"], bound=at_least(100_000)),
        Figure("embedded, replay", "events/s", rates["embedded, replay"]),
        Figure(
            "embedded, replay, two workers",
            "events/s",
            rates["embedded, replay, two workers"],
            bound=at_least(250_000),
        ),
        Figure("Flink, live", "events/s", rates["Flink, live"], bound=at_least(120_000)),
        Figure("Flink, replay", "events/s", rates["Flink, replay"]),
        *(Figure(what, "events/s", rates[what]) for what in (SQL, SQL_BARE, NAIVE, NAIVE_BARE)),
        ratio(rates, "Flink, live", NAIVE, bound=at_least(8)),
        *(ratio(rates, "Flink, live", to) for to in (NAIVE_BARE, SQL, SQL_BARE)),
        Figure("Flink, appended to readable, median", "s", (fresh[49],), bound=at_most(1.5)),
        Figure("Flink, appended to readable, 99th percentile", "s", (fresh[98],), bound=at_most(3)),
    ]


class Place:
    """A project on a stack, with its events in a topic; versions come and go."""

    def __init__(self, settings: Settings, stack: Stack, alone: FlinkAlone, name: str, events: int) -> None:
        self._folder, self._stack, self._name, self._events = settings.folder / name, stack, name, events
        self._alone, self._number, self._rows = alone, 0, ""
        self._folder.mkdir()
        (self._folder / "kappa.toml").write_text(PROJECT.format(name=name))
        shutil.copy(SHOP / "shop.py", self._folder)
        shutil.copy(Path(__file__).with_name("customers.py"), self._folder)
        self._environment = {**os.environ, **stack.client_environment(), "KAPPA_POSTGRES_SCHEMA_PREFIX": name}
        command = [str(KAPPA), "--project", str(self._folder), "ingest", str(shop_file(events, settings.keys))]
        done = subprocess.run(command, env=self._environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.embedded(Pace())  # makes the rows that all others are compared with

    def embedded(self, pace: Pace) -> float:
        """Fold the whole log by one worker, in this process, and return the rate."""
        with App(load_settings(self._folder, self._fresh({}))) as app:
            log = app.open_log(EVENT_LOG)
            with Fold(log, ByFolds, app.views, pace=pace) as fold:
                rate = timed(fold.run, events=self._events)
        self._check(f"{self._prefix}_views.by_folds__v1")
        return rate

    def running(self, own: Mapping[str, str]) -> float:
        """Let `kappa up` fold the whole log, and return the rate between the first look at its work and the end."""
        with self._up(own) as app:
            version = self._version(app)
            while not (first := _reported(app, version)):
                time.sleep(LOOK_S)
            began = time.perf_counter()
            while _committed(app, version) < self._end(app, version):
                time.sleep(LOOK_S)
            rate = (self._events - first) / (time.perf_counter() - began)
        self._check(f"{self._prefix}_views.{version.table.name}")
        return rate

    def _version(self, app: App) -> Version:
        while not (versions := app.control.versions()):
            time.sleep(LOOK_S)
        return versions[0]

    def _end(self, app: App, version: Version) -> int:
        with app.open_log(version.table.log) as log:
            return sum(log.ends().values())

    def _fresh(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return an environment with stores that nobody has used, and the log that is there."""
        self._number += 1
        return {**self._environment, "KAPPA_POSTGRES_SCHEMA_PREFIX": self._prefix, **own}

    @property
    def _prefix(self) -> str:
        return f"{self._name}_{self._number}"

    @contextmanager
    def _up(self, own: Mapping[str, str]) -> Iterator[App]:
        environment = self._fresh(own)
        command = [str(KAPPA), "--project", str(self._folder), "up"]
        with (self._folder / "up.log").open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            with App(load_settings(self._folder, environment)) as app:
                yield app
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            if FLINK.items() <= own.items():
                rest = FlinkRest(self._stack.address("flink"))
                for job in rest.jobs():  # which go on without `kappa up`
                    if not job.ended:
                        rest.cancel(job.id)

    def job(self, file: str, *, bare: bool = False) -> float:
        """Run a job without us over the whole topic, and return its rate. A bare one writes no rows."""
        topic = f"{self._folder.name}.events"
        if bare:
            return self._events / self._alone.seconds(file, topic)
        self._number += 1
        table = f"alone_{self._prefix}"
        with psycopg.connect(self._stack.postgres_conninfo) as connection:
            columns = ", ".join(f"{name} {declared}" for name, declared in COLUMNS.items())
            connection.execute(f"CREATE TABLE {table} ({columns})")
        rate = self._events / self._alone.seconds(file, topic, table=table)
        self._check(table)
        return rate

    def _check(self, table: str) -> None:
        """Compare all rows with those of the first one who has written any here."""
        self._rows = self._rows or table
        first, these = (f"SELECT {', '.join(COLUMNS)} FROM {each}" for each in (self._rows, table))
        with psycopg.connect(self._stack.postgres_conninfo) as connection:
            counted = connection.execute(
                f"""
                SELECT (SELECT count(*) FROM {table}), (SELECT count(*) FROM ({first} EXCEPT {these}) missing),
                    (SELECT count(*) FROM ({these} EXCEPT {first}) wrong)
                """
            ).fetchone()
        assert counted is not None
        rows, missing, wrong = counted
        if not rows or missing or wrong:
            sys.exit(f"error: {table} has {rows} rows, {wrong} of them wrong; {missing} of {self._rows} are not in it")

    def freshness(self, seconds: int) -> list[float]:
        """Append at a rate, and return the percentiles of the time from an append to the row that shows it."""
        own = {**FLINK, "KAPPA_FLINK_PROFILE": "live"}
        appended: dict[bytes, float] = {}
        with self._up(own) as app:
            version = self._version(app)
            while _committed(app, version) < self._end(app, version):
                time.sleep(LOOK_S)
            writer = threading.Thread(target=self._append, args=(appended, seconds), daemon=True)
            writer.start()
            delays: list[float] = []
            waiting: set[bytes] = set()
            seen: set[bytes] = set()
            while writer.is_alive() or waiting:
                waiting = set(appended) - seen
                found = app.views.get_many(version.table, list(waiting))
                now = time.perf_counter()
                delays += [now - appended[key] for key in found]
                seen |= set(found)
                waiting -= set(found)
                time.sleep(0.02)
        return quantiles(delays[len(delays) // 10 :], n=100)

    def _append(self, appended: dict[bytes, float], seconds: int) -> None:
        lines = shop_file(self._events, max(1, self._events // 20)).read_bytes().splitlines()
        size = FRESH_RATE // BATCHES_PER_S
        with App(load_settings(self._folder, self._environment)) as app:
            began = time.perf_counter()
            for number in range(seconds * BATCHES_PER_S):
                chosen = lines[number * size % len(lines) :][: size - 1]
                records = [NewRecord(json.loads(line)["user_id"].encode(), line, 1) for line in chosen]
                marker = f"fresh-{number}-{began:.0f}"
                event = {
                    "type": "PageView", "event_id": marker, "user_id": marker, "page": "/", "device": "mobile",
                    "timestamp": "2026-01-01T00:00:00Z",
                }  # fmt: skip
                records.append(NewRecord(marker.encode(), json.dumps(event).encode(), 1))
                time.sleep(max(0.0, began + number / BATCHES_PER_S - time.perf_counter()))
                app.events.append(records)
                appended[marker.encode()] = time.perf_counter()


def _reported(app: App, version: Version) -> int:
    report = app.control.last_report()
    workers = [] if report is None else [each for each in report.workers if each.table == version.table.name]
    return sum(sum(worker.positions.values()) for worker in workers)


def _committed(app: App, version: Version) -> int:
    return sum(progress.next_offset for progress in app.views.progress(version.table).values())


if __name__ == "__main__":
    sys.exit("python -m bench pipeline")
