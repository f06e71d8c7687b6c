"""The project lock as a file keeps the laws of a project lock, and what is particular to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from kappa.adapters.embedded.lock import FileLock
from kappa.testing.lock_conformance import NOON, ProjectLockConformance
from kappa.testing.processes import this_process


class TestFileLock(ProjectLockConformance):
    @pytest.fixture
    def open_lock(self, tmp_path: Path) -> Callable[[], FileLock]:
        return partial(FileLock, tmp_path / "state" / "run.lock")


def test_who_wrote_the_file_and_died_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "run.lock"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(this_process(NOON), pid=gone.pid)))

    with closing(FileLock(file)) as lock:
        assert lock.holder() is None
        lock.take(this_process(NOON))
        assert lock.holder() == this_process(NOON)
