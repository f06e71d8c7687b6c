"""The embedded engine: a worker process per version and partition group, and one per repartitioned log.

It starts them, restarts with backoff those that died, and reads what they report. It never folds, and what its workers
write is fenced by epoch, so a worker that it lost sight of can do no harm.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from kappa.adapters.embedded.process import EXIT_FENCED, EXIT_FINAL, EXIT_STOPPED, PARENT_PID, Report
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to run workers.

        Args:
            command: Starts a worker, given more arguments: `fold VIEW VERSION GROUP` or `repartition LOG KEY ...`.
            folder: Where workers' standard errors go, a file each.
            environment: The workers' environment.
            clock: For backoff, in seconds.
        """
        self._command, self._folder, self._clock = tuple(command), folder, clock
        # Views must not depend on these; fixing them makes one that does go wrong the same way everywhere.
        self._environment = {**environment, "PYTHONHASHSEED": "0", "TZ": "UTC", PARENT_PID: str(os.getpid())}
        self._versions: dict[str, Version] = {}
        self._workers: dict[str, _Worker] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, version: Version) -> None:
        """Start folding a version from its committed progress. Idempotent."""
        table = version.table
        self._versions[table.name] = version
        if table.log != EVENT_LOG:
            self._add(table.log, f"{table.log} repartitioner", "repartition", table.log, *_key_names(version))
        for group in range(table.group_count):
            label = f"{table.view} v{table.version} group {group}"
            self._add(f"{table.name}.g{group}", label, "fold", table.view, str(table.version), str(group))

    def stop(self, version: Version) -> None:
        """Stop folding a version, committed up to where it stopped. Idempotent."""
        table = version.table
        self._versions.pop(table.name, None)
        names = [f"{table.name}.g{group}" for group in range(table.group_count)]
        if not any(other.table.log == table.log for other in self._versions.values()):
            names.append(table.log)
        self._stop(names)

    def poll(self) -> Sequence[WorkerHealth]:
        """Restart what died and is due, and say how every worker is doing."""
        return [worker.poll() for worker in self._workers.values()]

    def close(self) -> None:
        """Stop everything. Idempotent."""
        self._versions.clear()
        self._stop(list(self._workers))

    def _add(self, name: str, label: str, *arguments: str) -> None:
        if name not in self._workers:
            self._workers[name] = _Worker(
                label,
                [*self._command, *arguments],
                environment=self._environment,
                errors=self._folder / f"{name}.stderr",
                clock=self._clock,
            )

    def _stop(self, names: Sequence[str]) -> None:
        """Ask all at once, then wait for each: together they take as long as the slowest."""
        workers = [self._workers.pop(name) for name in names if name in self._workers]
        for worker in workers:
            worker.ask_to_stop()
        deadline = self._clock() + STOP_TIMEOUT_S
        for worker in workers:
            worker.wait_or_kill(max(0.0, deadline - self._clock()))


def _key_names(version: Version) -> list[str]:
    return [column.name for column in version.table.key]


class _Worker:
    """One worker process over all its lives."""

    def __init__(
        self,
        label: str,
        command: list[str],
        *,
        environment: Mapping[str, str],
        errors: Path,
        clock: Callable[[], float],
    ) -> None:
        self._label, self._command, self._environment = label, command, environment
        self._errors, self._clock = errors, clock
        self._report = Report()
        self._detail = ""
        self._unread = b""
        self._restarts = 0
        self._failures = 0
        self._start_at: float | None = None
        self._final = False
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
            return self._health("running", self._detail)
        return self._health("restarting", self._detail)

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
        self._close_pipe()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._errors.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own command
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._started_at = self._clock()
        self._report, self._unread = Report(), b""
        return process

    def _plan_restart(self, code: int) -> None:
        if self._clock() - self._started_at >= HEALTHY_AFTER_S:
            self._failures = 0
        delay_s = min(RESTART_DELAY_S * 2**self._failures, RESTART_DELAY_MAX_S)
        self._failures += 1
        self._start_at = self._clock() + delay_s
        self._detail = self._why(code)
        self._close_pipe()

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
            state=state,
            pid=self._process.pid if running else None,
            restarts=self._restarts,
            detail=detail,
            rates=self._report.rates if running else {},
            positions=self._report.positions,
        )

    def _close_pipe(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
