"""The whole way, from topics through an engine to PostgreSQL, by both engines; beside them Flink without us.

On a stack of one broker in a folder of its own. Rates are taken between two looks at a running version, so the start of
a process or a job does not count; those of Flink alone are its own: from running to finished.
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
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from bench import SHOP
from bench.data import shop_file
from bench.embedded import Fold
from bench.measure import Figure, at_least, at_most, in_turns, ratio, timed
from bench.profiles import ByFolds
from bench.project import KAPPA
from bench.settings import Settings
from kappa.adapters.embedded.fold import Pace
from kappa.adapters.flink.rest import FlinkRest
from kappa.adapters.flink.submit import FlinkClient
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
NAIVE_EVENTS_MAX = 300_000
FRESH_RATE, FRESH_S, BATCHES_PER_S = 20_000, 30, 10
LOOK_S = 0.05
JOBS = Path(__file__).parent


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    settings.folder.chmod(0o711)  # PostgreSQL's user goes through it
    naive_events = min(settings.events, NAIVE_EVENTS_MAX)
    with Stack(settings.folder / "stack", small=True, task_managers=1) as stack:
        whole = Place(settings, stack, "whole", settings.events)
        part = Place(settings, stack, "part", naive_events)
        rates = in_turns(
            {
                "embedded, live": lambda: whole.embedded(Pace(live_commit_s=1.0, replay_commit_s=1.0)),
                "embedded, replay": lambda: whole.embedded(Pace()),
                "Flink, live": lambda: whole.flink({"KAPPA_FLINK_PROFILE": "live"}),
                "Flink, replay": lambda: whole.flink({"KAPPA_FLINK_PROFILE": "replay"}),
                "Flink SQL, no sink": lambda: whole.job("flink_sql.py"),
                "PyFlink by the book, no sink": lambda: part.job("flink_naive.py"),
            },
            rounds=min(settings.rounds, 2),
        )
        fresh = whole.freshness(FRESH_S)
    return [
        Figure("embedded, live", "events/s", rates["embedded, live"], bound=at_least(100_000)),
        Figure("embedded, replay", "events/s", rates["embedded, replay"], bound=at_least(250_000)),
        Figure("Flink, live", "events/s", rates["Flink, live"], bound=at_least(120_000)),
        Figure("Flink, replay", "events/s", rates["Flink, replay"]),
        Figure("Flink SQL, no sink", "events/s", rates["Flink SQL, no sink"]),
        Figure("PyFlink by the book, no sink", "events/s", rates["PyFlink by the book, no sink"]),
        ratio(rates, "Flink, live", "PyFlink by the book, no sink", bound=at_least(8)),
        ratio(rates, "Flink, live", "Flink SQL, no sink"),
        Figure("Flink, appended to readable, median", "s", (fresh[49],), bound=at_most(1.5)),
        Figure("Flink, appended to readable, 99th percentile", "s", (fresh[98],), bound=at_most(3)),
    ]


class Place:
    """A project on a stack, with its events in a topic; versions come and go."""

    def __init__(self, settings: Settings, stack: Stack, name: str, events: int) -> None:
        self._folder, self._stack, self._name, self._events = settings.folder / name, stack, name, events
        self._number = 0
        self._folder.mkdir()
        (self._folder / "kappa.toml").write_text(PROJECT.format(name=name))
        shutil.copy(SHOP / "shop.py", self._folder)
        shutil.copy(JOBS / "customers.py", self._folder)
        self._environment = {**os.environ, **stack.client_environment(), "KAPPA_POSTGRES_SCHEMA_PREFIX": name}
        command = [str(KAPPA), "--project", str(self._folder), "ingest", str(shop_file(events, settings.keys))]
        done = subprocess.run(command, env=self._environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def embedded(self, pace: Pace) -> float:
        """Fold the whole log by one worker, in this process, and return the rate."""
        with App(load_settings(self._folder, self._fresh({}))) as app:
            log = app.open_log(EVENT_LOG)
            with Fold(log, ByFolds, app.views, pace=pace) as fold:
                return timed(fold.run, events=self._events)

    def flink(self, own: Mapping[str, str]) -> float:
        """Fold the whole log by a new job, and return the rate between the first look at its work and the end."""
        with self._up({"KAPPA_ENGINE_KIND": "flink", **own}) as app:
            version = self._version(app)
            while not (first := _reported(app, version)):
                time.sleep(LOOK_S)
            began = time.perf_counter()
            while _committed(app, version) < self._end(app, version):
                time.sleep(LOOK_S)
            return (self._events - first) / (time.perf_counter() - began)

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
        return {**self._environment, "KAPPA_POSTGRES_SCHEMA_PREFIX": f"{self._name}_{self._number}", **own}

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
            rest = FlinkRest(self._stack.address("flink"))
            for job in rest.jobs():  # which go on without `kappa up`
                if not job.ended:
                    rest.cancel(job.id)

    def job(self, file: str) -> float:
        """Run a job without us over the whole topic, and return its rate."""
        rest = self._stack.address("flink")
        client = FlinkClient(
            rest, job_file=JOBS / file, folder=self._folder / "jobs", environment={**os.environ, **self._environment}
        )
        topic = f"{self._folder.name}.events"
        submission = client.submit(file, [self._stack.address("kafka"), topic], savepoint="")
        submission.wait(120)
        job_id = submission.job_id
        assert job_id is not None, submission.failure
        while (job := _ask(f"{rest}/jobs/{job_id}"))["state"] not in ("FINISHED", "FAILED", "CANCELED"):
            time.sleep(0.5)
        assert job["state"] == "FINISHED", job
        began = min(vertex["start-time"] for vertex in job["vertices"])
        return self._events / ((job["timestamps"]["FINISHED"] - began) / 1_000)

    def freshness(self, seconds: int) -> list[float]:
        """Append at a rate, and return the percentiles of the time from an append to the row that shows it."""
        own = {"KAPPA_ENGINE_KIND": "flink", "KAPPA_FLINK_PROFILE": "live"}
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


def _ask(url: str) -> dict:  # type: ignore[type-arg]  # JSON
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the stack's own
        return json.load(answer)


if __name__ == "__main__":
    sys.exit("python -m bench pipeline")
