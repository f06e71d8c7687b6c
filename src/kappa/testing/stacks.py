"""Stacks for tests, as a pytest plugin: `small_stack` has one broker, `three_broker_stack` three; each is up once.
`flink_stack` is the small one, after it got Flink.

A stack is gone when the tests are over, however they end: a process that does nothing else waits for that. Whoever runs
tests often can keep them up instead: KAPPA_TEST_STACKS names the folder to keep them in.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kappa.stack import TASK_MANAGERS, Stack

KEPT_VARIABLE = "KAPPA_TEST_STACKS"

# Standard input ends with the process that holds its other end, even if that one is killed.
_TAKE_DOWN = """\
import shutil, sys
from pathlib import Path
from kappa.stack import Stack
sys.stdin.read()
Stack(Path(sys.argv[1])).down()
shutil.rmtree(sys.argv[1])
"""


@pytest.fixture(scope="session")
def small_stack() -> Iterator[Stack]:
    """A stack with one broker. Tests share it, so they choose names of their own, and bring up what they kill."""
    with _shared_stack(small=True) as stack:
        yield stack


@pytest.fixture(scope="session")
def three_broker_stack() -> Iterator[Stack]:
    """A stack with three brokers, for what one cannot show. Shared like the small one."""
    with _shared_stack(small=False) as stack:
        yield stack


@pytest.fixture(scope="session")
def flink_stack(small_stack: Stack) -> Stack:
    """The stack with one broker, with Flink and two TaskManagers from now on: `address("flink")` is its REST API."""
    stack = Stack(small_stack.folder, task_managers=TASK_MANAGERS)
    stack.up()
    return stack


@contextmanager
def passing_folder() -> Iterator[Path]:
    """Give a folder for a stack; whatever runs from there is stopped, and the folder deleted, when this process ends.

    Unlike pytest's own folders, others than its owner may enter it, as PostgreSQL's user must.
    """
    folder = Path(tempfile.mkdtemp(prefix="kappa-stack-"))
    folder.chmod(0o755)
    command = [sys.executable, "-c", _TAKE_DOWN, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):  # noqa: S603 - ours
        yield folder


@contextmanager
def _shared_stack(*, small: bool) -> Iterator[Stack]:
    if kept := os.environ.get(KEPT_VARIABLE):
        stack = Stack(Path(kept) / ("small" if small else "three-brokers"), small=small)
        stack.up()
        yield stack
        return
    with passing_folder() as folder:
        stack = Stack(folder, small=small)
        stack.up()
        yield stack
