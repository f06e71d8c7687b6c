"""The shop on both engines: Flink goes on where worker processes stopped, and gives the bytes of one engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kappa.adapters.flink.rest import FlinkRest
from kappa.stack import Stack
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

SHOP = Path(__file__).parents[2] / "examples" / "shop"
KAPPA = Path(sys.executable).with_name("kappa")
TABLES = ("user_profile__v1", "page_popularity__v1")
TIMEOUT_S = 300.0

Contents = Mapping[str, list[tuple[Any, ...]]]


class Shop:
    """A shop in a folder, on the servers of a stack. Every schema holds the views of the same log."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.name = f"shop{uuid.uuid4().hex[:8]}"
        self.folder = shutil.copytree(SHOP, folder / "shop", ignore=shutil.ignore_patterns("__pycache__"))
        self.rest = FlinkRest(stack.address("flink"))
        self._environment = {**os.environ, **stack.client_environment(), "KAPPA_PROJECT_NAME": self.name}

    def events(self, *options: str) -> list[str]:
        self._run({}, sys.executable, "generate.py", *options, "--out=all.ndjson")
        return (self.folder / "all.ndjson").read_text().splitlines(keepends=True)

    def ingest(self, lines: list[str]) -> None:
        (self.folder / "events.ndjson").write_text("".join(lines))
        self._run({}, KAPPA, "ingest", "events.ndjson")

    def fold(self, schema: str, *, engine: str) -> None:
        settings = {"KAPPA_ENGINE_KIND": engine, "KAPPA_POSTGRES_SCHEMA_PREFIX": f"{self.name}_{schema}"}
        self._run(settings, KAPPA, "run", "--until-caught-up")

    def contents(self, schema: str) -> Contents:
        """Return all that is committed, as text: rows with their state, dead letters, progress."""
        found = {}
        with psycopg.connect(self._environment["KAPPA_POSTGRES_DSN"]) as connection:
            for table in (*TABLES, "dead_letters", "progress"):
                name = f'{self.name}_{schema}_views."{table}"'
                found[table] = connection.execute(f"SELECT found::text FROM {name} found ORDER BY 1").fetchall()
        return found

    def job_names(self) -> set[str]:
        return {job.name for job in self._jobs()}

    def close(self) -> None:
        for job in self._jobs():
            self.rest.cancel(job.id)
        eventually(lambda: not self._jobs(), timeout_s=TIMEOUT_S, what="the jobs have ended")

    def _jobs(self):
        return [job for job in self.rest.jobs() if self.name in job.name and not job.ended]

    def _run(self, settings: Mapping[str, str], *command: str | Path) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self._environment, **settings},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"


@pytest.fixture
def shop(tmp_path: Path, flink_stack: Stack) -> Iterator[Shop]:
    opened = Shop(tmp_path, flink_stack)
    yield opened
    opened.close()


def test_flink_goes_on_where_worker_processes_stopped_and_gives_their_bytes(shop: Shop) -> None:
    """The job's own state is empty then: it finds each row in PostgreSQL when its key comes up."""
    lines = shop.events("--events=6000", "--keys=300", "--bad=0.02", "--old=0.2")
    shop.ingest(lines[:3_000])
    shop.fold("moved", engine="embedded")
    shop.ingest(lines)

    shop.fold("moved", engine="flink")

    assert shop.job_names() == {f"kappa {shop.name} {table}" for table in TABLES}
    shop.fold("stayed", engine="embedded")
    stayed = shop.contents("stayed")
    assert all(stayed.values())
    assert shop.contents("moved") == stayed
