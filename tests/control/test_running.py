"""A run keeps what is deployed running, beside each other, and nobody is held up by a candidate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from storages import KAFKA, KAFKA_AND_POSTGRES, SQLITE, on

from kappa import parts
from kappa.app import App
from kappa.config import load_settings
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.following import REPORT_AGE_MAX
from kappa.control.history import new_entry
from kappa.control.progress import VersionProgress
from kappa.control.running import Run, RunStatus, refuse_failed
from kappa.control.versions import deployment_of
from kappa.errors import WorkerFailed
from kappa.model.records import NewRecord
from kappa.planning.states import VersionState
from kappa.ports import Former, Holder, Seed, Version, WorkerHealth
from kappa.testing.eventually import eventually

pytestmark = on(SQLITE, KAFKA, KAFKA_AND_POSTGRES)

SETTINGS = """
[project]
name = "visits"
modules = ["visits"]
[log]
key = "user"
[engine]
live_lag_max = 100
"""
VISITS = """
from kappa import Event, View, on

STEP = 1

class Visited(Event):
    user: str
    page: str

class Visitor(View, key="user"):
    visits: int = 0

    @on(Visited)
    def visited(self, event):
        self.visits += STEP
"""
BY_PAGE = """
class Page(View, key="page"):
    visits: int = 0

    @on(Visited)
    def visited(self, event):
        self.visits += STEP
"""
UPCASTER = """    page: str

    @classmethod
    def upcast_1(cls, old):
        return {**old, "page": "new"}
"""

ELSEWHERE = Holder("db-2", 7, datetime(2026, 3, 1, 12, tzinfo=UTC))


class Visits:
    """A project, and what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "kappa.toml").write_text(SETTINGS)
        (folder / "visits.py").write_text(VISITS)
        self.app = App(load_settings(folder, os.environ))
        self.control, self.log = self.app.control, self.app.events

    def append(self, count: int, *, page: str = "/") -> None:
        """Append visits of a few users."""
        value = '{"type":"Visited","user":"%s","page":"%s"}'
        users = [f"user {number % 7}" for number in range(count)]
        self.log.append([NewRecord(user.encode(), (value % (user, page)).encode()) for user in users])

    def deploy(self, code: str, *, view: str = "visitor", seed: Seed | None = None) -> Version:
        """Deploy other code as a view's next version, as a plan does."""
        (self.folder / "visits.py").write_text(code)
        bundle = self.app.bundles.store(self.folder, ["visits"])
        loaded = self.app.bundles.load(bundle)
        return self.control.deploy(
            deployment_of(
                loaded.project.views[view],
                len(self.control.versions(view)) + 1,
                parts=fingerprint_parts(loaded.project.views[view], loaded.root),
                bundle=bundle,
                layout=self.app.layout,
                seed=seed,
            )
        )

    def promote(self, version: int) -> None:
        """Make a version primary, and keep version 1 warm."""
        release = self.control.release()
        self.control.change_release(
            msgspec.structs.replace(
                release,
                revision=release.revision + 1,
                primaries={"visitor": version},
                formers={"visitor": Former(1, {}, release.revision + 1)},
            ),
            expected_revision=release.revision,
            entry=new_entry("ana", "promote"),
        )

    def visits(self, version: int, user: str = "user 0") -> int:
        """Return what a version says of a user."""
        return int(self.app.row("visitor", [user], version=version).columns["visits"])


@pytest.fixture
def project(tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visits]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    project = Visits(tmp_path)
    yield project
    project.log.close()
    project.app.close()
    sys.modules.pop("visits", None)


def caught_up(run: Run) -> RunStatus:
    """Poll until every version has caught up."""
    return eventually(lambda: status if (status := run.poll()).caught_up else None)


def states(status: RunStatus) -> dict[int, VersionState]:
    return {version.version: version.state for version in status.versions}


def test_versions_run_side_by_side_each_with_its_own_code(project: Visits) -> None:
    project.append(70)
    with project.app.run() as run:
        caught_up(run)
        project.deploy(VISITS.replace("STEP = 1", "STEP = 100"))

        status = eventually(lambda: status if len((status := run.poll()).versions) == 2 else None)
        assert states(status)[2] in {VersionState.DEPLOYED, VersionState.REPLAYING}
        caught_up(run)
        project.append(70)
        caught_up(run)

    assert (project.visits(1), project.visits(2)) == (20, 2_000)


def test_a_run_follows_what_is_released_and_retired(project: Visits) -> None:
    with project.app.run() as run:
        caught_up(run)
        project.deploy(VISITS.replace("STEP = 1", "STEP = 2"))
        project.deploy(VISITS.replace("STEP = 1", "STEP = 3"))
        run.poll()

        project.promote(2)
        assert states(caught_up(run)) == {1: VersionState.WARM, 2: VersionState.PRIMARY, 3: VersionState.CAUGHT_UP}
        project.control.retire("visitor", 3, aborted=True)
        assert states(run.poll()) == {1: VersionState.WARM, 2: VersionState.PRIMARY}
        assert {worker.table for worker in run.poll().workers} == {"visitor__v1", "visitor__v2"}


def test_a_version_whose_table_was_not_created_yet_is_started_all_the_same(project: Visits) -> None:
    """Whoever deployed it was killed in between."""
    project.append(7)
    with project.app.run() as run:
        caught_up(run)
        project.deploy(VISITS.replace("STEP = 1", "STEP = 2"))
        caught_up(run)

    assert project.visits(2) == 2


def test_a_version_is_started_once_its_seed_is_complete(project: Visits) -> None:
    with project.app.run() as run:
        version = project.deploy(VISITS.replace("STEP = 1", "STEP = 2"), seed=Seed("migration", base=1))
        assert states(run.poll()) == {1: VersionState.PRIMARY}

        project.app.views.create(version.table)
        epochs = {0: project.control.next_epoch(version.table, 0)}
        project.control.seeded(version.table, epochs=epochs, position={}, note="")

        assert states(run.poll()) == {1: VersionState.PRIMARY, 2: VersionState.CAUGHT_UP}


def test_a_candidate_that_fails_is_shown_and_stops_nobody(project: Visits) -> None:
    project.append(70)
    with project.app.run() as run:
        caught_up(run)
        broken = project.deploy(VISITS.replace("STEP = 1", "STEP = 2"))
        damage(project, broken)

        def failure() -> str:
            return "".join(version.failure for version in run.poll().versions)

        assert "visitor v2 group 0 failed: bundle" in eventually(failure)
        project.append(70)
        status = caught_up(run)
        refuse_failed(status)

    assert project.visits(1) == 20


def test_a_primary_that_fails_is_an_error(project: Visits) -> None:
    with project.app.run():
        pass
    damage(project, *project.control.versions())

    with project.app.run() as run, pytest.raises(WorkerFailed, match="visitor v1 group 0 failed: bundle"):
        eventually(lambda: refuse_failed(run.poll()))


def damage(project: Visits, *versions: Version) -> None:
    """Make what is stored as these versions' code something else."""
    for version in versions:
        with project.control._transaction() as connection:
            connection.execute(f"UPDATE bundles SET content = substr(content, 2) WHERE id = '{version.bundle}'")


def test_a_run_reports_to_other_processes(project: Visits) -> None:
    project.append(70)
    with project.app.run() as run:
        caught_up(run)

        def reported() -> dict[str, int]:
            run.poll()
            report = project.control.last_report()
            assert report is not None
            assert report.pid == os.getpid()
            return {worker.table: sum(worker.positions.values()) for worker in report.workers}

        eventually(lambda: reported() == {"visitor__v1": 70})


def test_a_log_is_repartitioned_by_the_newest_code_that_can_be_used(project: Visits) -> None:
    """A new version of an event keeps its key, in a field with another name, under an upcaster that only v2 has."""
    (project.folder / "visits.py").write_text(VISITS + BY_PAGE)
    newer = (VISITS + BY_PAGE).replace("class Visited(Event):", "class Visited(Event, version=2):")
    newer = newer.replace("    page: str\n", UPCASTER)
    project.append(7, page="/old")
    with project.app.run() as run:
        caught_up(run)
        second = project.deploy(newer, view="page")
        eventually(lambda: len(run.poll().versions) == 3)
        caught_up(run)
        project.append(7, page="/ignored")
        caught_up(run)
        assert pages(project) == {"/old": 7, "new": 7}

        project.control.retire("page", 2, aborted=True)
        run.poll()
        project.append(7, page="/old")
        caught_up(run)
        assert pages(project) == {"/old": 14, "new": 7}

        damage(project, project.deploy(newer + "\n", view="page"))
        eventually(lambda: any(version.failure for version in run.poll().versions))
        project.append(7, page="/old")
        caught_up(run)
        assert pages(project) == {"/old": 21, "new": 7}
        assert second.table.log == "events-by-page"


def pages(project: Visits) -> dict[str, int]:
    rows = project.app.query("SELECT page, visits FROM page", rows_max=10, timeout_s=5).rows
    return dict(rows)


class Recording:
    """An engine whose workers are where a test says, and which records what it is told."""

    def __init__(self) -> None:
        self.positions: dict[str, dict[int, int]] = {}
        self.shares: list[tuple[str, float]] = []

    def start(self, version: Version) -> None:
        self.positions[version.table.name] = {}

    def stop(self, version: Version) -> None:
        del self.positions[version.table.name]

    def throttle(self, version: Version, share: float) -> None:
        self.shares.append((version.table.name, share))

    def poll(self) -> Sequence[WorkerHealth]:
        return [
            WorkerHealth(name, name, "running", 1, 0, "", positions=positions)
            for name, positions in self.positions.items()
        ]

    def close(self) -> None:
        self.positions.clear()


def test_candidates_give_way_while_the_primary_has_fallen_behind(project: Visits) -> None:
    project.append(10)
    with project.app.run() as live:
        caught_up(live)
    project.deploy(VISITS.replace("STEP = 1", "STEP = 2"))
    project.append(101)
    engine, now = Recording(), [0.0]
    run = Run(
        engine=engine,
        control=project.control,
        store=project.app.views,
        open_log=project.app.open_log,
        live_lag_max=100,
        clock=lambda: now[0],
    )

    def poll_for(seconds: float) -> list[VersionProgress]:
        engine.shares.clear()
        for _ in range(int(seconds * 10)):
            now[0] += 0.1
            status = run.poll()
        return list(status.versions)

    assert [version.share for version in poll_for(2.5)] == [1.0, 0.125]
    assert engine.shares == [("visitor__v2", 0.5), ("visitor__v2", 0.25), ("visitor__v2", 0.125)]
    assert run.report is not None
    assert run.report.shares == {"visitor__v2": 0.125}

    # What its workers have folded counts, committed or not.
    engine.positions["visitor__v1"] = dict(project.log.ends())
    assert [version.share for version in poll_for(3.5)] == [1.0, 1.0]
    assert engine.shares == [("visitor__v2", 0.25), ("visitor__v2", 0.5), ("visitor__v2", 1.0)]
    run.close()


def test_whoever_needs_the_versions_to_run_runs_them_if_nobody_else_does(project: Visits) -> None:
    project.append(70)
    with project.app.run():
        pass

    with project.app.runner() as runner:
        report = eventually(lambda: report if (report := runner.poll()) and report.workers[0].positions else None)
        assert report.pid == os.getpid()


def test_whoever_needs_the_versions_to_run_follows_another_process_and_takes_over(project: Visits) -> None:
    project.append(70)
    up = subprocess.Popen(
        [sys.executable, "-m", "kappa", "up"], cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with project.app.runner() as runner:
        try:
            eventually(lambda: project.app.lock.holder() and project.control.last_report())

            report = eventually(runner.poll)
            assert report.pid == up.pid
        finally:
            up.send_signal(signal.SIGKILL)
            up.wait()

        eventually(lambda: (report := runner.poll()) is not None and report.pid == os.getpid())
        eventually(lambda: (report := runner.poll()) is not None and report.workers[0].positions)


def test_an_old_report_is_of_a_process_that_is_gone(project: Visits) -> None:
    with project.app.run() as run:
        run.poll()
        report = run.report
    assert report is not None
    aged = msgspec.structs.replace(report, at=datetime.now(UTC) - REPORT_AGE_MAX - timedelta(seconds=1))
    project.control.report(aged)

    with closing(parts.open_lock(project.app.settings)) as lock, project.app.runner() as runner:
        lock.take(ELSEWHERE)
        assert runner.poll() is None
