"""The Flink engine passes the engine suite on a real cluster, and what is particular to it: its jobs outlive it."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from flink.jobs import with_profile

from kappa.adapters.flink.rest import FlinkRest, Job
from kappa.adapters.flink.savepoints import SavepointNotes
from kappa.app import App
from kappa.config import load_settings
from kappa.control.versions import FirstVersions
from kappa.errors import StoreUnavailable
from kappa.ports import Deployment, Engine
from kappa.ports.engine import JobLoad
from kappa.stack import Stack
from kappa.testing.engine_conformance import (
    TIMEOUT_S,
    EngineConformance,
    assert_as_undisturbed,
    deposits,
    wait_until_caught_up,
    wait_until_working,
)
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

SETTINGS = """
[project]
name = "{name}"
modules = ["bank"]
[log]
key = "account"
partitions = 4
[engine]
kind = "flink"
workers = 2
[flink.live]
checkpoint_interval_s = 1
bundle_records = 100
"""
CODE = "from kappa.testing.accounts import *\n"
TASK_MANAGERS = ("taskmanager-1", "taskmanager-2")


class Cluster:
    """A project in a folder, with an engine for it whose jobs run in the stack's cluster."""

    # A throttled subtask rests a fifth of a second behind each bundle, of which there are a hundred then.
    many = 20_000

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.folder, self.stack = folder, stack
        self.name = f"bank{uuid.uuid4().hex[:8]}"
        (folder / "kappa.toml").write_text(SETTINGS.format(name=self.name))
        (folder / "bank.py").write_text(CODE)
        self.app = App(load_settings(folder, os.environ))
        first = FirstVersions(
            folder, ["bank"], bundles=self.app.bundles, control=self.app.control, store=self.app.views
        )
        first.deploy(lambda: self.app.project, layout=self.app.layout, actor="ana")
        (self.version,) = self.app.control.versions()
        self.log, self.store = self.app.events, self.app.views
        self.rest = FlinkRest(stack.address("flink"))
        self.notes = SavepointNotes(self.app.objects)
        self.engine = self.app._new_engine()

    @property
    def job_name(self) -> str:
        return f"kappa {self.name} {self.version.table.name}"

    def jobs(self) -> list[Job]:
        return [job for job in self.rest.jobs() if job.name.startswith(f"kappa {self.name} ") and not job.ended]

    def checkpoints(self, job: Job) -> list[Path]:
        """Return the files of all checkpoints of a job, while the cluster may be deleting them."""
        place = f"kappa-checkpoints/flink/checkpoints/{job.id}"
        # A glob ends with an error if a folder vanishes under it.
        walk = os.walk(self.stack.folder / "s3")
        return [Path(folder, file) for folder, _, files in walk if place in folder for file in files]

    def another_engine(self) -> Engine:
        """As the next `kappa up` has one."""
        self.engine.close()
        self.engine = self.app._new_engine()
        return self.engine

    def kill_workers(self) -> int:
        for name in TASK_MANAGERS:
            self.stack.kill(name)
        for name in TASK_MANAGERS:
            self.stack.start(name)
        return len(TASK_MANAGERS)

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
        for job in self.jobs():
            self.rest.cancel(job.id)
        eventually(lambda: not self.jobs(), timeout_s=TIMEOUT_S, what="the jobs have ended")
        self.app.close()
        sys.modules.pop("bank", None)
        sys.path.remove(str(self.folder))


@pytest.fixture
def world(tmp_path: Path, flink_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    for name, value in flink_stack.client_environment().items():
        monkeypatch.setenv(name, value)
    mine = uuid.uuid4().hex[:8]
    monkeypatch.setenv("KAPPA_KAFKA_TOPIC_PREFIX", f"{mine}.")
    monkeypatch.setenv("KAPPA_POSTGRES_SCHEMA_PREFIX", f"t{mine}")
    cluster = Cluster(tmp_path, flink_stack)
    yield cluster
    cluster.close()


class TestFlinkEngine(EngineConformance):
    pass


def test_a_job_goes_on_when_the_engine_is_closed_and_the_next_one_adopts_it(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that was to be changed would be stopped as soon as it is seen at work.
    monkeypatch.setattr("kappa.adapters.flink.job._LAG_INTERVAL_S", 0.0)
    world.engine.start(world.version)
    wait_until_working(world)
    (job,) = world.jobs()

    world.another_engine().start(world.version)
    world.log.append(deposits(0, 500))
    wait_until_caught_up(world)

    assert [each.id for each in world.jobs()] == [job.id]
    assert_as_undisturbed(world)


def test_a_stopped_job_leaves_nothing_in_the_object_store(world: Cluster) -> None:
    """A version is stopped when it is retired, and nobody would ever delete it."""
    world.engine.start(world.version)
    wait_until_working(world)
    (job,) = world.jobs()
    eventually(lambda: world.rest.last_checkpoint(job.id), timeout_s=TIMEOUT_S, what="there is a checkpoint")
    assert world.checkpoints(job)
    folder = world.engine._cluster.open_folder("s3://kappa-checkpoints/flink/checkpoints")
    folder.put(f"{job.id}/shared/cut-off", b"stored for a checkpoint that was under way")
    folder.put(f"{job.id}0/shared/another", b"of another job")

    world.engine.stop(world.version)

    assert world.jobs() == []
    assert folder.exists(f"{job.id}0/shared/another")
    folder.delete(f"{job.id}0/shared/another")
    assert world.notes.find(world.version.table.name, job=world.job_name) == ""
    eventually(lambda: not world.checkpoints(job), what="its checkpoints are gone")


def test_a_savepoint_that_is_gone_is_explained_and_nothing_is_lost(world: Cluster) -> None:
    gone = "s3://kappa-checkpoints/flink/savepoints/gone"
    world.notes.keep(world.version.table.name, job=world.job_name, location=gone)

    world.log.append(deposits(0, 500))
    world.engine.start(world.version)
    wait_until_caught_up(world)

    (worker,) = world.engine.poll()
    assert f"savepoint {gone} cannot be restored, so it starts from committed progress" in worker.detail
    assert_as_undisturbed(world)


def test_a_job_that_its_jobmanager_has_forgotten_is_submitted_again(world: Cluster) -> None:
    world.log.append(deposits(0, 500))
    world.engine.start(world.version)
    wait_until_working(world)

    world.stack.kill("jobmanager")
    eventually(lambda: "could not use Flink" in world.engine.poll()[0].detail, what="the engine notices")
    world.stack.start("jobmanager")
    eventually(
        lambda: (worker := world.engine.poll()[0]).restarts == 1 and worker.state == "running",
        timeout_s=TIMEOUT_S,
        what="another job works",
    )

    world.log.append(deposits(500, 1_000))
    wait_until_caught_up(world)
    assert_as_undisturbed(world)


def test_the_job_of_a_version_that_was_retired_meanwhile_is_ended(world: Cluster) -> None:
    """And gives its slots to another."""
    second = msgspec.structs.replace(world.version.table, version=2)
    fields = {name: getattr(world.version, name) for name in Deployment.__struct_fields__}
    candidate = world.app.control.deploy(Deployment(**{**fields, "table": second}))
    world.store.create(second)
    world.engine.start(candidate)
    wait_until_working(world)
    engine = world.another_engine()
    world.app.control.retire(second.view, 2, aborted=True)

    engine.start(world.version)
    world.log.append(deposits(0, 500))
    wait_until_caught_up(world)

    assert [job.name for job in world.jobs()] == [world.job_name]
    assert_as_undisturbed(world)


def test_a_job_that_works_by_another_profile_than_the_settings_say_is_changed_whatever_is_forgotten(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster knows nothing of the first request, as after its JobManager was restarted; no note can be kept."""
    really_stop = FlinkRest.stop

    def stop(rest: FlinkRest, job_id: str, *, folder: str) -> str:
        monkeypatch.setattr(FlinkRest, "stop", really_stop)
        return "0" * 32

    def keep(notes: SavepointNotes, table: str, *, job: str, location: str) -> None:
        raise StoreUnavailable(store="the bucket", cause="it is away")

    monkeypatch.setattr(FlinkRest, "stop", stop)
    monkeypatch.setattr(SavepointNotes, "keep", keep)
    world.log.append(deposits(0, 500))
    world.engine.start(world.version)
    wait_until_caught_up(world)
    (before,) = world.jobs()
    world.app.settings = with_profile(world.app.settings, "live", parallelism=1, checkpoint_interval_s=2)

    world.another_engine().start(world.version)

    (changed,) = eventually(
        lambda: world.engine.poll() and [job for job in world.jobs() if job.at_work and job.id != before.id],
        timeout_s=TIMEOUT_S,
        what="another job works",
    )
    assert [vertex.parallelism for vertex in world.rest.vertices(changed.id)] == [1, 1]
    assert world.rest.checkpoint_interval_s(changed.id) == 2
    world.log.append(deposits(500, 1_000))
    wait_until_caught_up(world)
    assert_as_undisturbed(world)


def test_a_job_that_has_caught_up_with_its_log_goes_on_in_the_profile_for_live_ones(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kappa.ports.profiles.REPLAY_LAG_MIN", 100)
    world.app.settings = with_profile(world.app.settings, "replay", parallelism=1)
    world.log.append(deposits(0, 500))
    world.another_engine().start(world.version)
    replay = job_at_work(world, f"{world.job_name} replay")
    assert [vertex.parallelism for vertex in world.rest.vertices(replay.id)] == [1, 1]

    live = job_at_work(world, world.job_name)
    assert [vertex.parallelism for vertex in world.rest.vertices(live.id)] == [2, 2]
    world.log.append(deposits(500, 1_000))
    wait_until_caught_up(world)

    assert_as_undisturbed(world)


def job_at_work(world: Cluster, name: str) -> Job:
    """Look after the jobs until one of this name works, and return it."""
    (job,) = eventually(
        lambda: world.engine.poll() and [job for job in world.jobs() if job.at_work and job.name == name],
        timeout_s=TIMEOUT_S,
        what=f"the job '{name}' works",
    )
    return job


def test_where_the_time_of_a_job_goes_is_measured(world: Cluster) -> None:
    world.log.append(deposits(0, 500))
    world.engine.start(world.version)

    def measured() -> JobLoad | None:
        load = world.engine.poll()[0].load
        complete = load is not None and load.checkpoint and all(each.buffers_in is not None for each in load.operators)
        return load if complete else None

    load = eventually(measured, timeout_s=TIMEOUT_S, what="the job's load is known, with buffers and a checkpoint")

    assert [operator.parallelism for operator in load.operators] == [2, 2]
    assert all(0 <= operator.busy_ms <= 1_000 for operator in load.operators)
    assert all(0 <= part <= 1 for operator in load.operators for part in (operator.buffers_in, operator.buffers_out))
    assert load.checkpoint.state_bytes > 0
    assert load.checkpoint.interval_s == 1
    assert 0 <= load.checkpoint.waited_s <= load.checkpoint.duration_s
