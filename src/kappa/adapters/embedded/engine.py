"""The embedded engine: a worker process per version and partition group, and one per repartitioned log.

It starts them, restarts with backoff those that died, tells them how fast to work, and reads what they report. It never
folds, and what its workers write is fenced by epoch, so a worker that it lost sight of can do no harm.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from kappa.adapters.embedded.process import EXIT_FENCED, EXIT_FINAL, EXIT_STOPPED, PARENT_PID, Report, Throttle
from kappa.ports import Version, WorkerHealth
from kappa.ports.log import EVENT_LOG

RESTART_DELAY_S, RESTART_DELAY_MAX_S = 0.2, 30.0
# A worker that ran so long was healthy: its next crash starts counting from one.
HEALTHY_AFTER_S = 60.0
# A commit of a full cache takes a few seconds on a slow disk.
STOP_TIMEOUT_S = 20.0
_STDERR_TAIL_BYTES = 4_000

_decode_report = msgspec.json.Decoder(Report).decode


class EmbeddedEngine:
    """Runs versions in processes of their own.

    Use: `start` versions, call `poll` a few times a second, `close`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        folding: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to run workers.

        Args:
            command: Starts a worker, given more arguments: `fold VIEW VERSION GROUP` or `repartition LOG`.
            folder: Where workers' standard errors go, a file each.
            environment: The workers' environment.
            folding: Whether to fold. If another engine does, this one only writes the repartitioned logs it reads.
            clock: For backoff, in seconds.
        """
        self._command, self._folder, self._folding, self._clock = tuple(command), folder, folding, clock
        # Views must not depend on these; fixing them makes one that does go wrong the same way everywhere.
        self._environment = {**environment, "PYTHONHASHSEED": "0", "TZ": "UTC", PARENT_PID: str(os.getpid())}
        self._versions: dict[str, Version] = {}
        self._workers: dict[str, _Worker] = {}
        # Repartitioned log -> when the newest version was deployed that its repartitioner was started for.
        self._copied_for: dict[str, datetime] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, version: Version) -> None:
        """Start folding a version from its committed progress. Idempotent."""
        table = version.table
        self._versions[table.name] = version
        for group, name in enumerate(self._worker_names(version)):
            label = f"{table.view} v{table.version} group {group}"
            self._add(name, label, table.name, "fold", table.view, str(table.version), str(group))

    def stop(self, version: Version) -> None:
        """Stop folding a version, committed up to where it stopped. Idempotent."""
        self._versions.pop(version.table.name, None)
        self._stop(self._worker_names(version))
        self._tend_repartitioners()

    def throttle(self, version: Version, share: float) -> None:
        """Let a version's workers work only this share of the time, from now on."""
        for name in self._worker_names(version):
            self._workers[name].throttle(share)

    def poll(self) -> Sequence[WorkerHealth]:
        """Restart what died and is due, and say how every worker is doing."""
        self._tend_repartitioners()
        return [worker.poll() for worker in self._workers.values()]

    def close(self) -> None:
        """Stop everything. Idempotent."""
        self._versions.clear()
        self._copied_for.clear()
        self._stop(list(self._workers))

    def _tend_repartitioners(self) -> None:
        """Run one per repartitioned log that a version reads, anew whenever the newest of these versions is another.

        It keys events as the newest code does, which knows the newest of them.
        """
        newest: dict[str, datetime] = {}
        for version in self._versions.values():
            if (log := version.table.log) != EVENT_LOG:
                newest[log] = max(version.created_at, newest.get(log, version.created_at))
        self._stop([log for log, deployed_at in self._copied_for.items() if newest.get(log) != deployed_at])
        self._copied_for = newest
        for log in newest:
            self._add(log, f"{log} repartitioner", log, "repartition", log)

    def _add(self, name: str, label: str, table: str, *arguments: str) -> None:
        if name not in self._workers:
            self._workers[name] = _Worker(
                label,
                table,
                [*self._command, *arguments],
                environment=self._environment,
                errors=self._folder / f"{name}.stderr",
                clock=self._clock,
            )

    def _worker_names(self, version: Version) -> list[str]:
        groups = range(version.table.group_count) if self._folding else ()
        return [f"{version.table.name}.g{group}" for group in groups]

    def _stop(self, names: Sequence[str]) -> None:
        """Ask all at once, then wait for each: together they take as long as the slowest."""
        workers = [self._workers.pop(name) for name in names if name in self._workers]
        for worker in workers:
            worker.ask_to_stop()
        deadline = self._clock() + STOP_TIMEOUT_S
        for worker in workers:
            worker.wait_or_kill(max(0.0, deadline - self._clock()))


class _Worker:
    """One worker process over all its lives."""

    def __init__(
        self,
        label: str,
        table: str,
        command: list[str],
        *,
        environment: Mapping[str, str],
        errors: Path,
        clock: Callable[[], float],
    ) -> None:
        self._label, self._table, self._command, self._environment = label, table, command, environment
        self._errors, self._clock = errors, clock
        self._report = Report()
        self._detail = ""
        self._unread = b""
        self._restarts = 0
        self._failures = 0
        self._start_at: float | None = None
        self._final = False
        self._share = 1.0
        self._process = self._spawn()

    def poll(self) -> WorkerHealth:
        """Read reports, notice a death, start again when that is due."""
        self._read()
        code = self._process.poll()
        if code is None:
            return self._health("running", self._report.waiting or self._detail)
        if self._final or code in (EXIT_STOPPED, EXIT_FINAL, EXIT_FENCED):
            self._final = True
            state = "stopped" if code == EXIT_STOPPED else "failed"
            return self._health(state, self._why(code))
        if self._start_at is None:
            self._plan_restart(code)
        elif self._clock() >= self._start_at:
            self._restarts += 1
            self._start_at = None
            self._process = self._spawn()
            self._tell_share()
            return self._health("running", self._detail)
        return self._health("restarting", self._detail)

    def throttle(self, share: float) -> None:
        """Tell the process its share of the time, and every later one."""
        if share != self._share:
            self._share = share
            self._tell_share()

    def ask_to_stop(self) -> None:
        """Send SIGTERM; the worker commits and ends."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait_or_kill(self, timeout_s: float) -> None:
        """Wait for the end, and force it after `timeout_s`."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close_pipes()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._errors.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own command
                self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        for stream in _pipes(process):
            os.set_blocking(stream.fileno(), False)
        self._started_at = self._clock()
        self._report, self._unread = Report(), b""
        return process

    def _tell_share(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        # One that died is told when it is started again. One that does not read for thousands of lines hangs.
        with contextlib.suppress(BrokenPipeError, BlockingIOError, ValueError):
            os.write(stream.fileno(), msgspec.json.encode(Throttle(self._share)) + b"\n")

    def _plan_restart(self, code: int) -> None:
        if self._clock() - self._started_at >= HEALTHY_AFTER_S:
            self._failures = 0
        delay_s = min(RESTART_DELAY_S * 2**self._failures, RESTART_DELAY_MAX_S)
        self._failures += 1
        self._start_at = self._clock() + delay_s
        self._detail = self._why(code)
        self._close_pipes()

    def _read(self) -> None:
        """Take in the reports written since the last call; the newest counts."""
        stream = self._process.stdout
        if stream is None or stream.closed:
            return
        while chunk := stream.read(65_536):
            self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            try:
                self._report = _decode_report(line)
            except msgspec.MsgspecError:
                continue  # something else printed to standard output; the reports themselves are whole lines

    def _why(self, code: int) -> str:
        """Say why the process ended: its last words, or the end of what it wrote to standard error."""
        if self._report.failure:
            hint = f"; next: {self._report.next_step}" if self._report.next_step else ""
            return self._report.failure + hint
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        with self._errors.open("rb") as errors:
            errors.seek(0, os.SEEK_END)
            errors.seek(max(0, errors.tell() - _STDERR_TAIL_BYTES))
            lines = errors.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"exit code {code}" + (f": {last}; see {self._errors}" if last else "")

    def _health(self, state: str, detail: str) -> WorkerHealth:
        running = state == "running"
        return WorkerHealth(
            name=self._label,
            table=self._table,
            state=state,
            pid=self._process.pid if running else None,
            restarts=self._restarts,
            detail=detail,
            rates=self._report.rates if running else {},
            positions=self._report.positions,
        )

    def _close_pipes(self) -> None:
        for stream in _pipes(self._process):
            stream.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
