"""Processes that outlive who started them, and are recognised by more than a number."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from kappa.stack import processes
from kappa.stack.part import Part
from kappa.stack.processes import kill, lives, send, start, started, stop, write_private
from kappa.testing.eventually import eventually


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(
        name="sleeper",
        script="echo starting; exec sleep 60",
        environment={"WHO": "ana"},
        folder=tmp_path / "sleeper",
        ports={},
        address="",
        answers=lambda: True,
    )


@pytest.fixture
def running(part, tmp_path):
    """Start parts that are gone when the test is over."""
    all_started = []

    def run(script: str = part.script) -> processes.Process:
        all_started.append(start(replace(part, script=script), tmp_path / "sleeper.log", {"PATH": os.environ["PATH"]}))
        return all_started[-1]

    yield run
    kill(all_started)


def says(log: Path, word: str) -> None:
    eventually(lambda: word in log.read_text(), timeout_s=10, what=f"{word} in {log}")


def test_a_process_has_a_session_of_its_own_and_nothing_but_the_environment_it_was_given(running, tmp_path) -> None:
    process = running('echo "who=$WHO home=$HOME"; exec sleep 60')

    says(tmp_path / "sleeper.log", "who=ana home=\n")
    assert os.getsid(process.pid) == process.pid
    assert lives(process)


def test_a_process_of_the_same_number_that_started_at_another_time_is_somebody_elses(running) -> None:
    process = running()
    earlier = msgspec.structs.replace(process, started="1")

    stop([earlier])
    kill([earlier])

    assert not lives(earlier)
    assert lives(process)


def test_a_process_that_has_ended_does_not_live_though_nobody_has_reaped_it() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        since = started(child.pid)
        assert since is not None
        child.kill()

        eventually(lambda: started(child.pid) is None, timeout_s=10)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="`ps` does not tell")
def test_a_process_lives_while_any_of_its_threads_does() -> None:
    """A killed JVM's main thread is gone before its sockets are: nothing can listen on its ports yet."""
    thread = "threading.Thread(target=sys.stdin.read).start(); ctypes.CDLL(None).pthread_exit(None)"
    command = [sys.executable, "-c", f"import ctypes, sys, threading; {thread}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        since = started(child.pid)
        eventually(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")

        assert started(child.pid) == since
        assert child.stdin is not None
        child.stdin.close()
        eventually(lambda: started(child.pid) is None)


def test_a_process_that_ignores_being_asked_is_killed(running, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.2)
    process = running("trap '' TERM; echo deaf; while :; do sleep 1; done")
    says(tmp_path / "sleeper.log", "deaf")

    stop([process])

    assert not lives(process)


def test_a_process_that_stands_still_is_stopped_too(running) -> None:
    process = running()
    send(process, signal.SIGSTOP)

    stop([process])

    assert not lives(process)


def test_what_a_script_runs_first_ends_with_it(running, tmp_path) -> None:
    process = running("sleep 60 & echo $! >first; wait")
    first = tmp_path / "sleeper" / "first"
    pid = int(eventually(lambda: first.exists() and first.read_text().strip(), timeout_s=10))

    stop([process])

    eventually(lambda: started(pid) is None, timeout_s=10)


def test_the_output_of_the_process_before_is_kept(running, tmp_path) -> None:
    running("echo first; exec sleep 60")
    says(tmp_path / "sleeper.log", "first")
    running("echo second; exec sleep 60")
    says(tmp_path / "sleeper.log", "second")

    assert (tmp_path / "sleeper.before.log").read_text() == "first\n"


def test_ps_tells_the_same_where_there_is_no_proc() -> None:
    assert processes._started_by_ps(os.getpid()) == processes._started_by_ps(os.getpid())
    assert processes._started_by_ps(os.getpid())


def test_a_private_file_is_readable_by_nobody_else_even_if_it_was(tmp_path) -> None:
    file = tmp_path / "secrets"
    file.write_text("old")
    file.chmod(0o644)

    write_private(file, "new")

    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o600)
