"""Parts of a real cluster are killed while events keep arriving: in the end rows and dead letters are those of one
undisturbed kernel, whatever died, and in whatever order.

All tests share one job, which has to survive them all.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from flink.jobs import FlinkProject

from kappa.app import App
from kappa.model.records import NewRecord
from kappa.planning.changes import ChangeKind
from kappa.stack import Stack
from kappa.testing.accounts import record
from kappa.testing.engine_conformance import deposits
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

BANK = "from kappa.testing.accounts import *\n"
PARTS = ("jobmanager", "taskmanager-1", "taskmanager-2", "postgres", "kafka-1", "s3")


@pytest.fixture(scope="module")
def stack(flink_stack: Stack) -> Iterator[Stack]:
    """The stack, to which the environment points; all of it is up again behind the last test."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in flink_stack.client_environment().items():
            environment.setenv(name, value)
        yield flink_stack
    flink_stack.up()


@pytest.fixture(scope="module")
def job(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkProject]:
    with closing(FlinkProject(tmp_path_factory.mktemp("bank"), stack, code=BANK, key="account")) as project:
        project.engine.start(project.version)
        project.job()
        yield project
        stack.up()


@pytest.fixture
def bank(job: FlinkProject) -> FlinkProject:
    """The bank's job, at work, on a stack that is whole."""
    job.stack.up()
    job.job()
    return job


def kill_and_start(stack: Stack, part: str) -> None:
    """Kill a part and start it again. PostgreSQL is told to stop at once: its processes would outlive their parent."""
    kill(stack, part)
    stack.start(part)


def kill(stack: Stack, part: str) -> None:
    stack.kill(part, signal.SIGQUIT if part == "postgres" else signal.SIGKILL)
    eventually(lambda: state(stack, part) == "stopped", what=f"{part} is gone")


def state(stack: Stack, part: str) -> str:
    return next(each.state for each in stack.status() if each.name == part)


def assert_nothing_lost_or_doubled(bank: FlinkProject) -> None:
    bank.wait_until_caught_up()
    assert bank.stored() == bank.undisturbed()


def test_a_taskmanager_dies_and_its_job_goes_on_from_a_checkpoint(bank: FlinkProject) -> None:
    before = bank.job()
    with bank.arriving(deposits):
        bank.wait_until(lambda: bank.checkpoints()["counts"]["completed"], "there is a checkpoint")
        kill_and_start(bank.stack, "taskmanager-1")
        bank.wait_until(lambda: bank.checkpoints()["counts"]["restored"], "the job is restored")
        bank.wait_for_commits()

    assert bank.job().id == before.id
    assert_nothing_lost_or_doubled(bank)


def test_a_jobmanager_dies_and_its_job_is_submitted_again_from_committed_progress(bank: FlinkProject) -> None:
    before = bank.job()
    with bank.arriving(deposits):
        bank.wait_for_commits()
        kill(bank.stack, "jobmanager")
        bank.wait_until(lambda: "could not use Flink" in bank.health()[0].detail, "the engine notices")
        bank.stack.start("jobmanager")
        bank.wait_for_commits()

    assert bank.job().id != before.id
    assert_nothing_lost_or_doubled(bank)


def test_postgresql_stops_in_the_middle_of_commits_and_starts_again(bank: FlinkProject) -> None:
    with bank.arriving(deposits):
        bank.wait_for_commits()
        kill_and_start(bank.stack, "postgres")
        bank.wait_for_commits()

    assert_nothing_lost_or_doubled(bank)


def test_the_only_broker_dies_and_starts_again(bank: FlinkProject) -> None:
    with bank.arriving(deposits):
        bank.wait_for_commits()
        kill_and_start(bank.stack, "kafka-1")
        bank.wait_for_commits()

    assert_nothing_lost_or_doubled(bank)


def test_without_an_object_store_rows_go_on_and_checkpoints_do_once_it_is_back(bank: FlinkProject) -> None:
    """With a checkpoint a second, one is under way at any moment, or about to be."""
    with bank.arriving(deposits):
        bank.wait_until(lambda: bank.checkpoints()["latest"]["completed"], "there is a checkpoint")
        kill(bank.stack, "s3")
        away_ms = time.time() * 1_000
        for _ in range(5):
            bank.wait_for_commits()
        assert bank.checkpoints()["latest"]["completed"]["trigger_timestamp"] < away_ms
        bank.stack.start("s3")
        bank.wait_until(
            lambda: bank.checkpoints()["latest"]["completed"]["trigger_timestamp"] > away_ms, "one is complete again"
        )

    assert_nothing_lost_or_doubled(bank)


@pytest.mark.parametrize("seed", [int(os.environ.get("KAPPA_TEST_SEED", "1"))])
def test_ten_parts_die_one_after_the_other(bank: FlinkProject, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    victims = chance.sample([*PARTS, *chance.choices(PARTS, k=4)], k=10)
    with bank.arriving(deposits):
        for victim in victims:
            while_recovering = chance.random() < 0.5
            print(f"{victim} dies{' in a recovery' if while_recovering else ''}")  # noqa: T201 - a failure shows it
            kill(bank.stack, victim)
            bank.health()
            bank.stack.start(victim)
            if not while_recovering:
                bank.wait_for_commits()

    assert_nothing_lost_or_doubled(bank)


def test_records_that_cannot_be_folded_hold_up_no_others(bank: FlinkProject) -> None:
    """Poison of all kinds, a thousand bad records in a row, and a key that takes half of all events."""
    poison = [
        NewRecord(None, b'{"type":"Deposited"}'),
        NewRecord(b"\xff\xfe", b"\xff\xfe\x00"),
        NewRecord(b"", b""),
        NewRecord(b"account 1", b"[" * 100_000),
        NewRecord(b"account 2", b'{"type":"Renamed","account":"account 2","name":"\\u0000"}'),
        NewRecord(b"account 3", b'{"type":"Deposited","account":"account 3","cents":"1e999999"}'),
        NewRecord(b"account 4", b"x" * 900_000),
    ]
    bank.log.append([*poison, *(record(7, "account 5", number) for number in range(1_000)), *poison])
    bank.log.append([record(0, f"account {number * (number % 2)}", number) for number in range(2_000)])

    assert_nothing_lost_or_doubled(bank)


def test_a_job_goes_on_from_a_savepoint_with_another_parallelism_and_the_code_it_had(bank: FlinkProject) -> None:
    """Code that folds alike makes no new version: what is deployed keeps its own."""
    with bank.arriving(deposits):
        bank.wait_for_commits()
        bank.engine.close()
        bank.code_file.write_text(BANK + "# what this says makes no difference\n")
        with App(bank.settings) as app:
            _, plan = app.planner.plan()

        bank.restart(parallelism=1)
        bank.wait_until(lambda: parallelism(bank) == [1, 1], "the job runs with a parallelism of 1")
        bank.wait_for_commits()

    assert [(view.kind, view.candidate) for view in plan.views] == [(ChangeKind.METADATA_ONLY, None)]
    assert "/savepoints/" in bank.checkpoints()["latest"]["restored"]["external_path"]
    assert_nothing_lost_or_doubled(bank)


def parallelism(bank: FlinkProject) -> list[int]:
    """Return that of each of the job's tasks, once it is at work."""
    return [vertex.parallelism for job in bank.jobs() if job.at_work for vertex in bank.rest.vertices(job.id)]
