"""Retention deletes what a job would have to read next. All tests share one job; the last one ends it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing

import pytest
from flink.jobs import TIMEOUT_S, FlinkProject
from storages import append_in_transactions

from kappa import parts
from kappa.stack import TASK_MANAGERS, Stack
from kappa.stack.flink import task_manager_names
from kappa.testing.engine_conformance import deposits
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

NAMES = task_manager_names(TASK_MANAGERS)


@pytest.fixture(scope="module")
def bank(flink_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkProject]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in flink_stack.client_environment().items():
            environment.setenv(name, value)
        code = "from kappa.testing.accounts import *\n"
        folder = tmp_path_factory.mktemp("bank")
        with closing(FlinkProject(folder, flink_stack, code=code, key="account", workers=1)) as project:
            project.engine.start(project.version)
            yield project


def test_a_job_whose_checkpoint_begins_before_the_log_goes_on_from_committed_progress(bank: FlinkProject) -> None:
    """In a partition that is idle for as long as retention lasts, the source stands before the mark of its last
    transaction, which is progress that is committed.
    """
    append_in_transactions(bank.log, deposits(0, 100))
    bank.wait_until_caught_up()
    before = bank.job()
    bank.wait_until(lambda: bank.checkpoints()["counts"]["completed"], "there is a checkpoint")
    rows = bank.stored()
    bank.forget_all()

    for name in NAMES:
        bank.stack.kill(name)
    bank.stack.up()

    bank.wait_until(lambda: [job for job in bank.jobs() if job.at_work and job.id != before.id], "another job works")
    assert "no longer holds" in bank.health()[0].detail
    assert bank.stored() == rows


def test_a_job_whose_next_events_are_lost_ends_with_the_words_of_the_embedded_engine(bank: FlinkProject) -> None:
    bank.job()
    for name in NAMES:
        bank.stack.kill(name, signal.SIGSTOP)
    # What was asked for before is answered with the first of them at most.
    for start in range(100, 400, 100):
        append_in_transactions(bank.log, deposits(start, start + 100))
    bank.forget_all()
    for name in NAMES:
        bank.stack.kill(name, signal.SIGCONT)

    (by_flink,) = eventually(
        lambda: [worker for worker in bank.engine.poll() if worker.state == "failed"],
        timeout_s=TIMEOUT_S,
        what="the job has ended",
    )
    with closing(parts.embedded_engine(bank.settings)) as embedded:
        embedded.start(bank.version)
        (by_worker,) = eventually(lambda: [worker for worker in embedded.poll() if worker.state == "failed"])

    assert "the log starts at" in by_flink.detail
    assert "kappa versions" in by_flink.detail
    assert by_flink.detail == by_worker.detail
    assert bank.jobs() == []
