"""Any process may be killed at any moment: the whole pipeline, from a file to rows, against one undisturbed kernel."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from storages import KAFKA, KAFKA_AND_POSTGRES, SQLITE, on

from kappa.app import App
from kappa.config import load_settings
from kappa.model.interleaving import interleaved
from kappa.model.kernel import Kernel
from kappa.testing.eventually import eventually
from kappa.testing.reading import all_batches, batches_of

SHOP = Path(__file__).parents[1] / "examples" / "shop"
KAPPA = [sys.executable, "-m", "kappa"]
EVENTS = 150_000


@pytest.fixture
def project(tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The shop with two workers a view, and a file of events, some of old versions, some bad."""
    folder = shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns(".kappa", "__pycache__"))
    settings = (folder / "kappa.toml").read_text().replace("workers = 1", "workers = 2\ncommit_interval_s = 0.05")
    assert "workers = 2" in settings
    (folder / "kappa.toml").write_text(settings)
    with (folder / "events.ndjson").open("wb") as file:
        options = ["--events", str(EVENTS), "--keys", "2000", "--bad", "0.01", "--old", "0.2"]
        subprocess.run([sys.executable, "generate.py", *options], cwd=folder, stdout=file, check=True)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    sys.modules.pop("shop", None)


class Pipeline:
    """`kappa ingest` and `kappa up` side by side, each started again when it was killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ingest = self._start("ingest", "events.ndjson")
        self._up = self._start("up")

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*KAPPA, *command], cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill_one(self, chance: random.Random) -> None:
        """Kill the ingestion, the run or one of its workers, and start again what does not come back by itself."""
        victim = chance.choice(["ingest", "up", "worker", "worker"])
        if victim == "ingest" and self._ingest.poll() is None:
            self._ingest.kill()
            self._ingest.wait()
            self._ingest = self._start("ingest", "events.ndjson")
        elif victim == "up":
            self._up.kill()
            self._up.wait()
            self._up = self._start("up")
        elif workers := children(self._up.pid):
            os.kill(chance.choice(workers), signal.SIGKILL)

    def ingested(self) -> bool:
        """Whether the whole file is in the log."""
        code = self._ingest.poll()
        assert code in (None, 0), code
        return code == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Not SIGINT, which a shell may have told its children to ignore.
        for process in (self._ingest, self._up):
            process.terminate()
            process.wait(timeout=30)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in file.read_text().split()] if file.exists() else []


@on(SQLITE, KAFKA, KAFKA_AND_POSTGRES)
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_doubled_whatever_is_killed(project: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    with Pipeline(project) as pipeline, App(load_settings(project, os.environ)) as app:
        for share in range(1, 13):
            eventually(lambda at=share: sum(app.events.ends().values()) >= EVENTS * at / 14 or pipeline.ingested())
            if share == 6:
                break_code(project)
            pipeline.kill_one(chance)
        eventually(pipeline.ingested, timeout_s=120)
    subprocess.run([*KAPPA, "run", "--until-caught-up"], cwd=project, check=True, stdout=subprocess.DEVNULL)

    with App(load_settings(project, os.environ)) as app:
        rejected = app.control.rejected(limit=EVENTS, source=str(project / "events.ndjson"))
        assert sum(len(batch) for batch in all_batches(app.events)) + len(rejected) == EVENTS
        assert len(rejected) > 0
        for view, version in app.control.release().primaries.items():
            (deployed,) = app.control.versions(view)
            assert deployed.table.version == version
            table = deployed.table
            rows = {row.columns: (row.partition, row.offset) for row in app.views.scan(table)}
            letters = app.views.dead_letters(table, limit=EVENTS)
            with app.open_log(table.log) as log:
                code = app.bundles.code(deployed)
                kernel = Kernel(
                    code.view,
                    events=code.events,
                    load=lambda _: {},
                    rows_max=10_000_000,
                    store_empty=True,
                )
                for partition in range(log.partition_count):
                    for batch in interleaved(batches_of(log, partition)):
                        kernel.fold(batch)
            expected = kernel.take_changes()
            assert rows == {row.columns: (row.partition, row.offset) for row in expected.rows}
            assert sorted((letter.partition, letter.offset, letter.reason) for letter in letters) == sorted(
                (letter.partition, letter.offset, letter.reason) for letter in expected.dead_letters
            )
        assert copied_once(app)


def break_code(folder: Path) -> None:
    """Write nonsense into the project's code, once it is deployed."""
    with App(load_settings(folder, os.environ)) as app:
        eventually(lambda: len(app.control.release().primaries) == 2, what="both views are served")
    (folder / "shop.py").write_text("broken(")


def copied_once(app: App) -> bool:
    """Whether the repartitioned log gives each page view of the event log once to those who pass over second copies."""
    with app.open_log("events-by-page") as log:
        once = [batch for each in range(log.partition_count) for batch in interleaved(batches_of(log, each))]
    ids = [json.loads(value)["event_id"] for batch in once for value in batch.values]
    return len(ids) == len(set(ids)) > 0
