"""Ingestion that is killed anywhere and started again has added nothing twice and lost nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from control.crashing import Crashes, CrashingLog

from kappa.app import App
from kappa.config import load_settings
from kappa.ports import Log
from kappa.testing.reading import all_batches

LINES = 120_000
RATE = "--rate=100000"  # makes a dozen transactions of them
EVERY_BAD = 1_000
SETTINGS = '[project]\nname = "shop"\nmodules = ["shop"]\n[log]\nkey = "user_id"\n'


def line(number: int) -> bytes:
    if number % EVERY_BAD == 0:
        return b"bad %d" % number
    return b'{"type":"Seen","user_id":"user-%d","timestamp":"2026-03-01T12:00:00Z","number":%d}' % (number % 97, number)


@pytest.fixture
def project(tmp_path: Path, storage: str) -> Path:
    (tmp_path / "kappa.toml").write_text(SETTINGS)
    (tmp_path / "events.ndjson").write_bytes(b"".join(line(number) + b"\n" for number in range(LINES)))
    return tmp_path


def ingesting(project: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from kappa.cli import main; main()", "ingest", "events.ndjson", RATE]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"})


def kill_after(process: subprocess.Popen[bytes], log: Log, *, records: int) -> bool:
    """Kill a process once the log has so many records; say whether it still lived."""
    while process.poll() is None:
        if sum(log.ends().values()) >= records:
            process.kill()
            return process.wait() == -signal.SIGKILL
    assert process.returncode == 0
    return False


def test_killed_at_any_point_and_started_again_it_adds_each_event_once(project: Path) -> None:
    kills = 0
    with App(load_settings(project, os.environ)) as app:
        for records in range(1, LINES, LINES // 5):
            kills += kill_after(ingesting(project), app.events, records=records)
        assert ingesting(project).wait() == 0
        found = [value for batch in all_batches(app.events) for value in batch.values]
        rejected = [entry.value for entry in app.control.rejected(limit=LINES)]

    assert kills >= 3
    assert sorted(found) == sorted(line(number) for number in range(LINES) if number % EVERY_BAD)
    assert rejected == [line(number) for number in range(0, LINES, EVERY_BAD)]


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
def test_a_crash_at_each_append_changes_nothing(intake, committed: bool) -> None:
    content = b"".join(line(number) + b"\n" for number in range(35_000)) + b"unfinished"
    log = intake.log
    for at in (1, 1, 2, 1):
        intake.log = CrashingLog(log, at=at, committed=committed)
        with pytest.raises(Crashes):
            intake.ingest(content)
    intake.log = log
    report = intake.ingest()

    assert sorted(intake.values()) == sorted(line(number) for number in range(35_000) if number % EVERY_BAD)
    assert report.appended + report.already_there == len(intake.values())
    assert len(intake.rejected()) == 35 + 1
