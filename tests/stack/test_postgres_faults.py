"""Whatever PostgreSQL suffers, nothing is lost, nothing is written twice, and work goes on by itself."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from postgres_server import PostgresServer, programs

from kappa.adapters.postgres.opening import open_control, open_views
from kappa.adapters.postgres.views import PostgresViews
from kappa.app import App
from kappa.config import load_settings
from kappa.errors import StorageFull, StoreUnavailable
from kappa.model.kernel import Kernel
from kappa.model.records import Changes, Progress
from kappa.testing.eventually import eventually
from kappa.testing.reading import all_batches
from kappa.testing.view_laws import USERS, letter, user

SHOP = Path(__file__).parents[2] / "examples" / "shop"
KAPPA = [sys.executable, "-m", "kappa"]
EVENTS = 120_000
RATE = 20_000


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own, which writes its disk in earnest."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def views(server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[PostgresViews]:
    with closing(open_views(server.dsn, schema_prefix=f"faults{abs(hash(request.node.name)) % 10**6}")) as views:
        views.create(USERS)
        yield views


def test_what_was_committed_survives_a_stop_at_once_and_the_next_calls_go_on(server, views):
    with views.writer(USERS, 0, epoch=1) as writer:
        writer.commit(Changes([user("ana", 1)], [letter(2)]), {0: Progress(3)})
        server.stop()
        server.start()

        with pytest.raises(StoreUnavailable) as lost:
            writer.commit(Changes([user("ana", 4)]), {0: Progress(5)})
        writer.commit(Changes([user("ana", 4)]), {0: Progress(5)})

        assert lost.value.retryable
        with pytest.raises(StoreUnavailable):
            views.row_count(USERS)
        assert [row.offset for row in views.scan(USERS)] == [4]
        assert (views.progress(USERS), views.dead_letter_count(USERS)) == ({0: Progress(5)}, 1)


def test_while_it_is_away_every_call_says_so(server, views):
    with closing(open_control(server.dsn, project="shop", schema_prefix="faults_away")) as control:
        server.stop()
        try:
            for call in (
                control.release,
                control.versions,
                lambda: views.get(USERS, b"ana"),
                lambda: [*views.scan(USERS)],
            ):
                for _ in range(2):
                    with pytest.raises(StoreUnavailable) as away:
                        call()
                    assert away.value.retryable
        finally:
            server.start()

        assert (control.release().revision, views.get(USERS, b"ana")) == (0, None)


def test_a_commit_that_is_made_again_adds_nothing(views):
    """When the connection is lost with the answer to a commit, nobody knows whether it took place."""
    changes, progress = Changes([user("ana", 1), user("ben", 2)], [letter(3)]), {0: Progress(4)}
    with views.writer(USERS, 0, epoch=1) as writer:
        for _ in range(2):
            writer.commit(changes, progress)

    assert (views.row_count(USERS), views.dead_letter_count(USERS)) == (2, 1)


def test_a_statement_that_takes_too_long_is_cut_and_can_be_made_again(server):
    impatient = open_views(server.dsn, schema_prefix="faults_impatient", statement_timeout_s=0.3)
    with closing(impatient) as views, ExitStack() as opened:
        views.create(USERS)
        writer = opened.enter_context(views.writer(USERS, 0, epoch=1))
        with psycopg.connect(server.dsn) as other:
            other.execute("LOCK TABLE faults_impatient_views.users__v1 IN SHARE MODE")

            with pytest.raises(StoreUnavailable, match="statement timeout") as cut:
                writer.commit(Changes([user("ana", 1)]), {0: Progress(2)})
            assert cut.value.next_step == "it took longer than postgres.statement_timeout_s: find out why, or raise it"
        writer.commit(Changes([user("ana", 1)]), {0: Progress(2)})

        assert views.row_count(USERS) == 1


@contextmanager
def small_disk(server: PostgresServer) -> Iterator[Callable[[int], None]]:
    """Let new tables lie on a disk of 8 MB; give a function that changes its size."""
    mount, folder = shutil.which("mount"), server.folder / "small"
    folder.mkdir()

    def mounted(options: str) -> bool:
        return subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode == 0

    if mount is None or os.getuid() != 0 or not mounted("size=8m"):
        pytest.skip("a small disk takes the right to mount one")
    try:
        shutil.chown(folder, "postgres")
        server.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        server.execute("ALTER DATABASE postgres SET default_tablespace = small")
        yield lambda megabytes: mounted(f"remount,size={megabytes}m") and None
    finally:
        # The server, which is stopped next, still has files open there.
        subprocess.run([shutil.which("umount") or "umount", "--lazy", folder], check=True)


def test_a_full_disk_takes_nothing_and_work_goes_on_when_there_is_room():
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    changes = Changes([user(f"user-{n:06}", n) for n in range(100_000)], [letter(1)])
    with PostgresServer("fsync=off") as server, small_disk(server) as resize, ExitStack() as opened:
        views = opened.enter_context(closing(open_views(server.dsn)))
        views.create(USERS)
        writer = opened.enter_context(views.writer(USERS, 0, epoch=1))
        with pytest.raises(StorageFull):
            writer.commit(changes, {0: Progress(100_000)})
        assert (views.row_count(USERS), views.progress(USERS)) == (0, {0: Progress()})

        resize(200)
        writer.commit(changes, {0: Progress(100_000)})

        assert (views.row_count(USERS), views.progress(USERS)) == (100_000, {0: Progress(100_000)})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The shop with two workers a view that commit often, and a file of events."""
    folder = shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns(".kappa", "__pycache__"))
    monkeypatch.setenv("KAPPA_ENGINE_WORKERS", "2")
    monkeypatch.setenv("KAPPA_ENGINE_COMMIT_INTERVAL_S", "0.05")
    monkeypatch.setenv("KAPPA_STORAGE_STORE", "postgres")
    with (folder / "events.ndjson").open("wb") as file:
        options = ["--events", str(EVENTS), "--keys", "2000", "--old", "0.2"]
        subprocess.run([sys.executable, "generate.py", *options], cwd=folder, stdout=file, check=True)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    sys.modules.pop("shop", None)


def stop_at_once(server: PostgresServer, _: random.Random) -> None:
    server.stop()
    server.start()


def end_sessions(server: PostgresServer, chance: random.Random) -> None:
    """End about every second session, in whatever it does."""
    sessions = server.execute("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'kappa%'")
    for (pid,) in sessions:
        if chance.random() < 0.5:
            server.execute("SELECT pg_terminate_backend(%s)", [pid])


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "times"), [(stop_at_once, 4), (end_sessions, 25)])
def test_nothing_is_lost_or_doubled_whatever_fails(
    project: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch, fault, times: int
) -> None:
    chance = random.Random(1)  # noqa: S311 - reproducible on purpose
    monkeypatch.setenv("KAPPA_POSTGRES_DSN", server.dsn)
    monkeypatch.setenv("KAPPA_POSTGRES_SCHEMA_PREFIX", fault.__name__)
    with running(project, "up") as up, App(load_settings(project, os.environ)) as app:
        eventually(lambda: len(app.control.release().primaries) == 2, what="both views are served")
        with running(project, "ingest", "events.ndjson", "--rate", str(RATE)) as ingest:
            for number in range(1, times + 1):
                eventually(lambda at=number: sum(app.events.ends().values()) >= EVENTS * at / (times + 2))
                fault(server, chance)
            assert ingest.wait(60) == 0
        assert up.poll() is None
    subprocess.run([*KAPPA, "run", "--until-caught-up"], cwd=project, check=True, stdout=subprocess.DEVNULL)

    with App(load_settings(project, os.environ)) as app:
        assert sum(app.events.ends().values()) == EVENTS
        for view in app.control.release().primaries:
            (version,) = app.control.versions(view)
            code = app.bundles.code(version)
            kernel = Kernel(code.view, events=code.events, load=lambda _: {}, rows_max=10_000_000, store_empty=True)
            with app.open_log(version.table.log) as log:
                for batch in all_batches(log):
                    kernel.fold(batch)
            expected = kernel.take_changes()
            rows = {row.columns: (row.partition, row.offset, row.state) for row in app.views.scan(version.table)}
            assert rows == {row.columns: (row.partition, row.offset, row.state) for row in expected.rows}
            assert app.views.dead_letter_count(version.table) == len(expected.dead_letters)


@contextmanager
def running(project: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*KAPPA, *command], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)
