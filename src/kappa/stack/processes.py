"""Start processes that outlive this one, recognise them later, and end them.

A process is known by its id and the time it started, since ids are used again: nothing is ever signalled that was not
started from here. Each has a session of its own, so neither Ctrl-C nor a closed terminal reaches it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from kappa.stack.part import Part

_POLL_INTERVAL_S = 0.05
# A broker whose last peers are gone waits for a quorum for ever; others end within a few seconds.
STOP_TIMEOUT_S = 8.0
_KILLED_TIMEOUT_S = 10.0


class Process(msgspec.Struct, frozen=True):
    """A process that was started.

    Attributes:
        started: When, in the system's own terms; only to be compared.
        fingerprint: The description that it was started from.
        stop_signal: What asks it to end.
    """

    pid: int
    started: str
    fingerprint: str
    stop_signal: int


def start(part: Part, log: Path, environment: Mapping[str, str]) -> Process:
    """Start a part's process: its output goes to `log`, the output of the process before it to a file beside that.

    Raises:
        OSError: A folder or file cannot be written, or the process not be made.
    """
    part.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log.parent.mkdir(parents=True, exist_ok=True)
    for name, text in part.files.items():
        write_private(part.folder / name, text)
    if part.user is not None:
        for path in (part.folder, *(part.folder / name for name in part.files)):
            shutil.chown(path, part.user)
    if log.exists():
        log.replace(log.with_suffix(".before.log"))
    with log.open("wb") as output:
        popen = subprocess.Popen(  # noqa: S603 - a script of ours
            ["/bin/sh", "-c", part.script],
            cwd=part.folder,
            env={**environment, **part.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            user=part.user,
            group=None if part.user is None else pwd.getpwnam(part.user).pw_gid,
            extra_groups=None if part.user is None else (),
        )
    process = Process(popen.pid, started(popen.pid) or "", part.fingerprint, part.stop_signal)
    with warnings.catch_warnings():
        # It outlives this object on purpose; `subprocess` keeps the id and reaps the process if it ends before us.
        warnings.simplefilter("ignore", ResourceWarning)
        del popen
    return process


def started(pid: int) -> str | None:
    """Return when a process started, or None if there is none or it has ended and was not reaped yet."""
    try:
        # After the command's name in parentheses, which may hold anything: state, and as the 20th the start time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self").exists() else _started_by_ps(pid)
    # The main thread ends before the others: until those have, its ports are taken.
    ended = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if ended else fields[19]


def _started_by_ps(pid: int) -> str | None:
    """Return the same on a system without /proc."""
    command = ("ps", "-o", "stat=,lstart=", "-p", str(pid))
    state, _, since = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False
    ).stdout.partition(" ")
    return since.strip() if since and not state.startswith("Z") else None


def lives(process: Process) -> bool:
    """Say whether it runs still, or is at least stopped by a signal."""
    return started(process.pid) == process.started


def send(process: Process, number: int) -> None:
    """Send a signal, unless the process has ended. What its script runs before it gets the signal too."""
    if lives(process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def stop(processes: Sequence[Process]) -> None:
    """Ask processes to end, all at once, and kill those that do not."""
    for process in processes:
        send(process, process.stop_signal)
        send(process, signal.SIGCONT)  # one that is stopped would not hear
    if not _gone(processes, STOP_TIMEOUT_S):
        kill(processes)


def kill(processes: Sequence[Process]) -> None:
    """End processes without any warning, and return when they are gone."""
    for process in processes:
        send(process, signal.SIGKILL)
    _gone(processes, _KILLED_TIMEOUT_S)


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, at no moment anybody else."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(text)


def _gone(processes: Sequence[Process], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(lives(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_INTERVAL_S)
    return True
