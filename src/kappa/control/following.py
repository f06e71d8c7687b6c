"""See to it that somebody runs a project's versions: this process if nobody else does, or else whoever does.

For commands that change what is deployed and wait for what comes of it. If the process that runs the versions dies, the
next poll takes over; if another process has taken over from this one, this one follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta

from kappa.control.running import Run
from kappa.errors import AlreadyRunning, TakenOver
from kappa.ports import RunReport
from kappa.ports.control import ControlStore

# A run reports a few times a second, except while it waits for a worker to stop.
REPORT_AGE_MAX = timedelta(seconds=5)


class Runner:
    """Polls the project's run, or follows the one of another process."""

    def __init__(self, open_run: Callable[[], AbstractContextManager[Run]], control: ControlStore) -> None:
        """Prepare; `open_run` starts a run that ends with its block.

        Args:
            open_run: Raises `AlreadyRunning` when another process runs the project.
            control: Where that process reports.
        """
        self._open_run, self._control = open_run, control
        self._opened = ExitStack()
        self._run: Run | None = None

    def poll(self) -> RunReport | None:
        """Keep the versions running, and return how their workers are; None while nobody has said so yet."""
        if self._run is None:
            try:
                self._run = self._opened.enter_context(self._open_run())
            except AlreadyRunning:
                return recent(self._control.last_report(), now=datetime.now(UTC))
        try:
            self._run.poll()
        except TakenOver:
            self.close()
            return recent(self._control.last_report(), now=datetime.now(UTC))
        return self._run.report

    def close(self) -> None:
        """Stop what this process runs. Idempotent."""
        self._run = None
        self._opened.close()


def recent(report: RunReport | None, *, now: datetime) -> RunReport | None:
    """Return a report if it is of a process that still runs."""
    return None if report is None or now - report.at > REPORT_AGE_MAX else report
