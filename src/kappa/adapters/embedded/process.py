"""What worker processes share: waiting, stopping, pacing, and telling the engine how they are doing.

A worker writes one JSON line at a time to its standard output and never waits for a reader. JSON lines on its standard
input say how fast it may work; it stops on SIGTERM, or when the process that started it is gone. The other side of this
conversation is in `engine`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Protocol

import msgspec

from kappa.errors import Fenced, KappaError, SourceMoved
from kappa.ports.waiting import Stopped, Waiter

# Environment variable with the process id of the engine that started a worker.
PARENT_PID = "KAPPA_PARENT_PID"  # not KAPPA_ENGINE_...: those are settings

# Exit codes of a worker. Any other one is a crash, and the worker is started again.
EXIT_STOPPED, EXIT_FINAL, EXIT_FENCED = 0, 3, 4

POLL_INTERVAL_S = 0.05
REPORT_INTERVAL_S = 0.25
# Weight of the newest sample in a smoothed rate: the last second or so counts most.
_RATE_WEIGHT = 0.3


class Report(msgspec.Struct, omit_defaults=True):
    """One line from a worker.

    Attributes:
        positions: partition -> next offset.
        rates: partition -> records per second lately.
        waiting: Why it makes no progress, if it waits for a store.
        failure: Why it ends, for people; the last line of a worker that fails.
        next_step: What they can do about it.
    """

    positions: dict[int, int] = {}
    rates: dict[int, float] = {}
    waiting: str = ""
    failure: str = ""
    next_step: str = ""


class Throttle(msgspec.Struct):
    """One line to a worker.

    Attributes:
        share: The share of the time that it may work from now on, 0 < share <= 1.
    """

    share: float


class Worker(Protocol):
    """A loop body: folding or repartitioning."""

    positions: dict[int, int]

    def step(self) -> int:
        """Do one piece of work and return how many records it read."""

    def finish(self) -> None:
        """Make what was done durable before the process ends."""


class WorkerProcess:
    """This process as a worker: its signals, its parent, its reports. Use as the `Waiter` of a worker's loop."""

    def __init__(self) -> None:
        self._stopping = False
        # Told by the engine: if it died while this process was starting, getppid() would already name another one.
        self._parent = int(os.environ.get(PARENT_PID, os.getppid()))
        self._positions: dict[int, int] = {}
        self._rates: dict[int, float] = {}
        self._reported_at = time.monotonic()
        self._share = 1.0
        self._unread = b""
        signal.signal(signal.SIGTERM, self._stop)
        # Ctrl-C reaches the whole foreground group; the engine decides when its workers stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.set_blocking(sys.stdin.fileno(), False)
        os.set_blocking(sys.stdout.fileno(), False)
        # Rows hold no cycles; the default thresholds would walk over millions of them again and again.
        gc.freeze()
        gc.set_threshold(200_000, 50, 100)

    def run(self, start: Callable[[Waiter], Worker]) -> int:
        """Start a worker and let it work until asked to stop; return the exit code.

        Args:
            start: Makes the worker, given how to wait.
        """
        worker: Worker | None = None
        try:
            worker = start(self)
            while not self._asked_to_stop():
                started_at = time.monotonic()
                count = worker.step()
                worked_s = time.monotonic() - started_at
                self._report_sometimes(worker.positions)
                if count:
                    self._rest_after(worked_s, worker.positions)
                else:
                    self.wait(POLL_INTERVAL_S)
            worker.finish()
        except Stopped:
            return EXIT_STOPPED
        except (Fenced, SourceMoved) as error:
            return self._fail(error, EXIT_FENCED)
        except KappaError as error:
            return self._fail(error, 1 if error.retryable else EXIT_FINAL)
        return EXIT_STOPPED

    def wait(self, seconds: float, *, reason: str = "") -> None:
        """Wait in short pieces, so that a stop is noticed."""
        if reason:
            self._send(Report(self._positions, {}, waiting=reason))
        until = time.monotonic() + seconds
        while True:
            if self._asked_to_stop():
                raise Stopped
            if (left := until - time.monotonic()) <= 0:
                return
            time.sleep(min(left, POLL_INTERVAL_S))

    def _rest_after(self, worked_s: float, positions: Mapping[int, int]) -> None:
        """Rest as the worker's share of the time demands. It may change meanwhile, and counts at once."""
        self._hear()
        rested_from = time.monotonic()
        while (left := worked_s * (1 / self._share - 1) - (time.monotonic() - rested_from)) > 0:
            if self._asked_to_stop():
                return
            # Once: a rate counts the rest before the work, and standing still is no news.
            if positions != self._positions:
                self._report_sometimes(positions)
            time.sleep(min(left, POLL_INTERVAL_S))
            self._hear()

    def _hear(self) -> None:
        """Take in what the engine said since the last call; its last word counts."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(sys.stdin.fileno(), 4_096):
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines[-1:]:
            self._share = msgspec.json.decode(line, type=Throttle).share

    def _asked_to_stop(self) -> bool:
        return self._stopping or os.getppid() != self._parent

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _report_sometimes(self, positions: Mapping[int, int]) -> None:
        now = time.monotonic()
        elapsed_s = now - self._reported_at
        if elapsed_s < REPORT_INTERVAL_S:
            return
        for partition, position in positions.items():
            rate = (position - self._positions.get(partition, position)) / elapsed_s
            before = self._rates.get(partition, rate)
            self._rates[partition] = round(before + _RATE_WEIGHT * (rate - before), 1)
        self._positions, self._reported_at = dict(positions), now
        self._send(Report(self._positions, self._rates))

    def _fail(self, error: KappaError, code: int) -> int:
        where = f" ({error.where})" if error.where else ""
        self._send(Report(failure=error.message + where, next_step=error.next_step or ""))
        return code

    def _send(self, report: Report) -> None:
        # A full pipe means that nobody reads at the moment: the next report replaces this one.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(sys.stdout.fileno(), msgspec.json.encode(report) + b"\n")
