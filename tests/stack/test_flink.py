"""Flink in a stack, really up: jobs run in thread mode, and what died is started again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from os import environ
from pathlib import Path
from typing import Any

import pyflink
import pytest

from kappa.stack import TASK_MANAGERS, Stack
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

TASK_MANAGER_NAMES = {"taskmanager-1", "taskmanager-2"}

# It fails unless kappa is where jobs run, and ends when all is counted and in a checkpoint.
COUNTING = """\
from pyflink.common import Configuration, Types
from pyflink.datastream import DataStream, KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.state import ValueStateDescriptor


class Count(KeyedProcessFunction):
    def open(self, context):
        import kappa
        import pemja

        self.count = context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value, context):
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        if count == 100:
            yield f"counted {count} that end with {value % 10}"


settings = Configuration()
settings.set_string("python.execution-mode", "thread")
settings.set_string("execution.checkpointing.interval", "1s")
environment = StreamExecutionEnvironment.get_execution_environment(settings)
environment.set_parallelism(2)
numbers = DataStream(environment._j_stream_execution_environment.fromSequence(0, 999))
numbers.key_by(lambda number: number % 10, Types.LONG()).process(Count(), Types.STRING()).print()
environment.execute("counting")
"""


def ask(stack: Stack, path: str) -> Any:
    connection = HTTPConnection(stack.address("flink").removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.request("GET", path)
        return json.load(connection.getresponse())


def submit(stack: Stack, job: Path) -> str:
    """Return the id of a job that was submitted as an environment of `kappa stack env` lets one do it."""
    flink = Path(pyflink.__file__).parent / "bin" / "flink"
    python = ["-pyexec", sys.executable, "-pyclientexec", sys.executable]
    command = ["bash", str(flink), "run", "--detached", *python, "--python", str(job)]
    done = subprocess.run(
        command, env={**environ, **stack.client_environment()}, capture_output=True, text=True, check=False
    )
    found = re.search("JobID ([0-9a-f]{32})", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return found[1]


def states(stack: Stack) -> dict[str, str]:
    return {part.name: part.state for part in stack.status()}


def process_id(stack: Stack, name: str) -> int | None:
    return next(part.pid for part in stack.status() if part.name == name)


@pytest.fixture
def two_task_managers(flink_stack) -> Iterator[Stack]:
    yield flink_stack
    flink_stack.up()


def test_a_job_in_thread_mode_finds_the_cluster_by_the_environment_alone(flink_stack, tmp_path) -> None:
    job = tmp_path / "counting.py"
    job.write_text(COUNTING)
    before = sum(len(counted(flink_stack, name)) for name in TASK_MANAGER_NAMES)

    job_id = submit(flink_stack, job)
    eventually(lambda: ask(flink_stack, f"/jobs/{job_id}")["state"] in ("FINISHED", "FAILED"), timeout_s=120)

    assert ask(flink_stack, f"/jobs/{job_id}")["state"] == "FINISHED", ask(flink_stack, f"/jobs/{job_id}/exceptions")
    assert sum(len(counted(flink_stack, name)) for name in TASK_MANAGER_NAMES) - before == 10
    checkpoint = ask(flink_stack, f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
    assert checkpoint["external_path"].startswith("s3://kappa-checkpoints/flink/checkpoints/")


def counted(stack: Stack, name: str) -> list[str]:
    return re.findall("counted 100 that end with", stack.log_file(name).read_text())


def test_a_part_that_was_killed_is_started_again(two_task_managers) -> None:
    stack = two_task_managers
    for name in ("jobmanager", "taskmanager-1"):
        stack.kill(name)
    assert (states(stack)["jobmanager"], states(stack)["taskmanager-1"]) == ("stopped", "stopped")

    assert {part.state for part in stack.up()} == {"ready"}


def test_a_jobmanager_dies_while_a_taskmanager_registers_and_both_are_ready_in_the_end(two_task_managers) -> None:
    """A TaskManager that has found the one that dies goes on asking for it; whether this one has is left to chance."""
    stack = two_task_managers
    before = process_id(stack, "jobmanager")
    stack.kill("taskmanager-1")
    log = stack.log_file("taskmanager-1")
    log.unlink()

    def kill_jobmanager() -> None:
        eventually(lambda: log.exists() and "Connecting to ResourceManager" in log.read_text(), timeout_s=120)
        stack.kill("jobmanager")

    with ThreadPoolExecutor() as aside:
        killing = aside.submit(kill_jobmanager)
        stack.start("taskmanager-1")
        killing.result()

    stack.start("jobmanager")  # if the other was ready before the kill
    eventually(lambda: set(states(stack).values()) == {"ready"}, timeout_s=60)
    assert process_id(stack, "jobmanager") != before


def test_a_stack_may_get_more_taskmanagers_and_fewer(two_task_managers) -> None:
    smaller = Stack(two_task_managers.folder, task_managers=1)
    smaller.up()
    assert TASK_MANAGER_NAMES & set(states(smaller)) == {"taskmanager-1"}
    assert {part.state for part in smaller.status()} == {"ready"}

    Stack(two_task_managers.folder, task_managers=TASK_MANAGERS).up()
    assert set(states(two_task_managers)) >= TASK_MANAGER_NAMES
    assert {part.state for part in two_task_managers.status()} == {"ready"}
