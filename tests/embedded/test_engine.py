"""The embedded engine passes the engine suite, and what is particular to it: backoff, orphans, one run at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from storages import KAFKA, KAFKA_AND_POSTGRES, SQLITE, on

from kappa.adapters.embedded.engine import EmbeddedEngine
from kappa.app import App
from kappa.config import WORKER_SETTINGS, encode_settings, load_settings
from kappa.control.versions import FirstVersions
from kappa.testing.engine_conformance import EngineConformance, deposits, wait_until_caught_up
from kappa.testing.eventually import eventually

SETTINGS = """
[project]
name = "accounts"
modules = ["bank"]
[log]
key = "account"
partitions = 4
[engine]
workers = 2
"""
CODE = "from kappa.testing.accounts import *\n"


class Embedded:
    """A project in a folder with an engine for it."""

    many = 10_000

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "kappa.toml").write_text(SETTINGS)
        (folder / "bank.py").write_text(CODE)
        self.app = App(load_settings(folder, os.environ))
        first = FirstVersions(
            folder, ["bank"], bundles=self.app.bundles, control=self.app.control, store=self.app.views
        )
        first.deploy(lambda: self.app.project, layout=self.app.layout, actor="ana")
        (self.version,) = self.app.control.versions()
        self.log, self.store = self.app.events, self.app.views
        self.engine = EmbeddedEngine(
            [sys.executable, "-P", "-m", "kappa.worker"],
            folder=folder / "workers",
            environment={**os.environ, WORKER_SETTINGS: encode_settings(self.app.settings)},
        )

    def kill_workers(self) -> int:
        pids = [worker.pid for worker in self.engine.poll() if worker.pid is not None]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def remove_working_tree(self) -> None:
        (self.folder / "kappa.toml").unlink()
        (self.folder / "bank.py").unlink()

    def damage_bundle(self) -> None:
        with self.app.control._transaction() as connection:
            connection.execute("UPDATE bundles SET content = substr(content, 2)")

    def fence(self) -> None:
        for group in range(2):
            epoch = self.app.control.next_epoch(self.version.table, group)
            self.store.writer(self.version.table, group, epoch=epoch).close()

    def close(self) -> None:
        self.engine.close()
        self.app.close()
        sys.modules.pop("bank", None)
        sys.path.remove(str(self.folder))


@pytest.fixture
def world(tmp_path: Path, storage: str) -> Iterator[Embedded]:
    embedded = Embedded(tmp_path)
    yield embedded
    embedded.close()


@on(SQLITE, KAFKA, KAFKA_AND_POSTGRES)
class TestEmbeddedEngine(EngineConformance):
    pass


def test_a_worker_that_keeps_dying_is_restarted_ever_more_slowly(tmp_path: Path) -> None:
    """And its last words are shown."""
    now = [0.0]
    engine = EmbeddedEngine(
        [sys.executable, "-c", "raise SystemExit('no such luck')"],
        folder=tmp_path,
        environment=os.environ,
        clock=lambda: now[0],
    )
    world = Embedded(tmp_path)
    engine.start(world.version)
    delays = []
    for _ in range(4):
        eventually(lambda: {worker.state for worker in engine.poll()} == {"restarting"})
        died_at = now[0]
        while any(worker.state == "restarting" for worker in engine.poll()):
            now[0] += 0.05
        delays.append(round(now[0] - died_at, 1))

    assert delays == sorted(delays)
    assert delays[-1] >= 8 * delays[0]
    assert all("no such luck" in worker.detail for worker in engine.poll())
    engine.close()
    world.close()


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    world = Embedded(tmp_path)
    code = (
        "import sys, time; from embedded.test_engine import Embedded; from pathlib import Path\n"
        f"world = Embedded(Path({str(tmp_path)!r})); world.engine.start(world.version)\n"
        "while True:\n"
        "    print(*[worker.pid for worker in world.engine.poll()], flush=True); time.sleep(0.05)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]

    parent.kill()
    parent.wait()
    parent.stdout.close()

    assert len(pids) == 2
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="no orphan is left")
    world.log.append(deposits(0, 100))
    world.engine.start(world.version)
    wait_until_caught_up(world)
    world.close()
