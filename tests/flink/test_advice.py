"""What `kappa status` recommends for a job helps: each recommendation is followed by the setting that it names, in a
real cluster, and measured before and after.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest
from typed_project import Project

from kappa.adapters.flink.rest import FlinkRest
from kappa.app import App
from kappa.config import load_settings
from kappa.control.status import JobStatus
from kappa.model.records import NewRecord
from kappa.planning.backpressure import Level
from kappa.stack import Stack
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

TIMEOUT_S = 180.0

SETTINGS = """
[project]
name = "{name}"
modules = ["visits"]
[log]
key = "user"
partitions = 4
[engine]
kind = "flink"
[flink.live]
parallelism = {parallelism}
checkpoint_interval_s = {checkpoint_interval_s}
"""
# The handler waits, as for a slow answer: two subtasks do twice as much then, even on one core.
CODE = """
from signal import sigtimedwait

from kappa import Event, View, on

class Visited(Event):
    user: str
    page: str

class Visitor(View, key="user"):
    visits: int = 0

    @on(Visited)
    def look_up(self, event: Visited) -> None:
        sigtimedwait((), 0.001)
        self.visits += 1
"""
# A partition is read in pieces of a megabyte, compressed: with kilobytes that cannot be, all come forward evenly.
PAGES = [base64.b64encode(Random(number).randbytes(750)).decode() for number in range(1_000)]  # noqa: S311 - no secret
# So many tell a rate: bundles of up to 1,000 of them are committed at once.
EVENTS_TIMED = 8_000


class Visits:
    """A project with one slow view, whose job runs in a stack's cluster while `up` does and after."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.folder, self.stack, self.name = folder, stack, f"visits{uuid.uuid4().hex[:8]}"
        own = {"KAPPA_KAFKA_TOPIC_PREFIX": f"{self.name}.", "KAPPA_POSTGRES_SCHEMA_PREFIX": self.name}
        self.typed = Project(folder, {**os.environ, **stack.client_environment(), **own})
        self.rest = FlinkRest(stack.address("flink"))

    def begin(self, user: Callable[[int], str], *, events: int, parallelism: int, interval_s: float) -> None:
        """Write the project, and append events to its log; `user` says whose the one with a number is."""
        (self.folder / "visits.py").write_text(CODE)
        settings = SETTINGS.format(name=self.name, parallelism=parallelism, checkpoint_interval_s=interval_s)
        (self.folder / "kappa.toml").write_text(settings)
        self.app = App(load_settings(self.folder, self.typed.environment or {}))
        self.app.events.append([visit(user(number), PAGES[number % len(PAGES)]) for number in range(events)])

    def up(self) -> AbstractContextManager[object]:
        return self.typed.background("up")

    def job(self, condition: Callable[[JobStatus], object], what: str) -> JobStatus:
        """Wait until something is true of the job, as `kappa status` has it, and return that."""

        def found() -> JobStatus | None:
            jobs = [version.job for version in self.app.status().versions if version.job is not None]
            return next((job for job in jobs if condition(job)), None)

        job = eventually(found, timeout_s=TIMEOUT_S, what=what)
        assert job is not None
        return job

    def verdict(self, text: str) -> Any:
        """Return what `kappa status --json` says once it recommends something with this text in it."""
        self.job(lambda job: any(text in advice for advice in job.verdict.advice), f"status recommends {text}")
        (version,) = self.typed.json("status")["versions"]
        return version["job"]["verdict"]

    def follow(self, advice: str) -> None:
        """Set what is recommended, as somebody does who reads it."""
        found = re.search(r"set flink\.live\.(\w+) to (\d+)", advice)
        assert found is not None, advice
        file = self.folder / "kappa.toml"
        changed, count = re.subn(rf"(?m)^{found[1]} = .+$", f"{found[1]} = {found[2]}", file.read_text())
        assert count == 1, advice
        file.write_text(changed)

    def position(self) -> int:
        (version,) = self.app.control.versions()
        return sum(progress.next_offset for progress in self.app.views.progress(version.table).values())

    def rate(self) -> float:
        """Return how many events per second are folded: between two commits, for those come in steps."""
        before = self.position()
        eventually(lambda: self.position() > before, timeout_s=TIMEOUT_S, what="the next commit")
        first, began = self.position(), time.monotonic()
        eventually(lambda: self.position() >= first + EVENTS_TIMED, timeout_s=TIMEOUT_S, what="many events are folded")
        return (self.position() - first) / (time.monotonic() - began)

    def checkpoint_share(self) -> float:
        """Return the part of the time in which a checkpoint is being taken, of the last ones, as the cluster says."""
        (job,) = self.jobs()
        url = f"{self.stack.address('flink')}/jobs/{job.id}/checkpoints"

        def completed() -> list[Any]:
            with urlopen(url, timeout=10) as answer:  # noqa: S310 - a cluster of our own
                done = [each for each in json.load(answer)["history"] if each["status"] == "COMPLETED"]
            return done if len(done) >= 5 else []

        done = eventually(completed, timeout_s=TIMEOUT_S, what="some checkpoints are complete")
        began_ms = [each["trigger_timestamp"] for each in done]
        # The first ones of a job take longer, which is no matter of the interval.
        spent_ms = median(each["end_to_end_duration"] for each in done)
        return spent_ms * (len(done) - 1) / (max(began_ms) - min(began_ms))

    def jobs(self) -> list[Any]:
        return [job for job in self.rest.jobs() if job.name.startswith(f"kappa {self.name} ") and not job.ended]

    def close(self) -> None:
        for job in self.jobs():
            self.rest.cancel(job.id)
        eventually(lambda: not self.jobs(), timeout_s=TIMEOUT_S, what="the jobs have ended")
        self.app.close()


@pytest.fixture
def visits(tmp_path: Path, flink_stack: Stack) -> Iterator[Visits]:
    with closing(Visits(tmp_path, flink_stack)) as opened:
        yield opened


def visit(user: str, page: str) -> NewRecord:
    value = {"type": "Visited", "timestamp": "2026-03-01T12:00:00Z", "user": user, "page": page}
    return NewRecord(user.encode(), msgspec.json.encode(value), 1_772_366_400_000_000)


def one_of_many(number: int) -> str:
    return f"user {number % 1_000}"


def test_more_subtasks_are_recommended_for_a_slow_fold_and_make_it_faster(visits: Visits) -> None:
    visits.begin(one_of_many, events=80_000, parallelism=1, interval_s=10)
    with visits.up():
        visits.job(lambda job: job.verdict.level is Level.HIGH, "the job is backpressured")
        verdict = visits.verdict("flink.live.parallelism")
        before = visits.rate()
    assert (verdict["level"], verdict["starts_at"][:4]) == ("high", "fold")
    (advice,) = verdict["advice"]

    visits.follow(advice)
    with visits.up():
        visits.job(lambda job: job.load.operators[0].parallelism == 2, "the job has two subtasks")
        after = visits.rate()

    assert after > 1.5 * before


def test_a_longer_checkpoint_interval_is_recommended_for_short_ones_and_leaves_more_time(visits: Visits) -> None:
    visits.begin(one_of_many, events=1_000, parallelism=1, interval_s=0.05)
    with visits.up():
        (advice,) = visits.verdict("flink.live.checkpoint_interval_s")["advice"]
        before = visits.checkpoint_share()

    visits.follow(advice)
    with visits.up():
        visits.job(
            lambda job: job.load.checkpoint is not None and job.load.checkpoint.interval_s >= 1,
            "checkpoints begin as often as was recommended",
        )
        after = visits.checkpoint_share()

    assert after < before / 2


def test_a_key_with_half_of_all_events_is_named_and_more_subtasks_are_not_recommended(visits: Visits) -> None:
    visits.begin(
        lambda number: "ana" if number % 2 else one_of_many(number), events=30_000, parallelism=2, interval_s=10
    )
    with visits.up():
        verdict = visits.verdict("key 'ana' has")

    (advice,) = verdict["advice"]
    assert "flink.live.parallelism" not in advice
    assert verdict["hot_key"]["key"] == "ana"
    assert verdict["hot_key"]["share"] > 0.6
