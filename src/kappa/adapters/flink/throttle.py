"""Keep a subtask to a share of its time: after each element it sleeps for as long as its work was worth.

Whoever runs the project decides on the share and writes it into the run report; this reads it about once a second, when
there is work, and on the thread that works: nothing has to be stopped when a job ends.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from kappa.errors import StoreUnavailable

READ_INTERVAL_S = 1.0
# A barrier waits for no longer than one sleep.
SLEEP_MAX_S = 0.2
# What was not slept yet. More would hold back a subtask that may work faster by now.
DEBT_MAX_S = 2.0


class Throttle:
    """The pace of one subtask. Unthrottled until its share has been read."""

    def __init__(
        self,
        share: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare to sleep.

        Args:
            share: Returns the share of the time to work, more than 0 and at most 1. May raise `StoreUnavailable`.
            clock: In seconds.
            sleep: Sleeps that long.
        """
        self._read_share, self._clock, self._sleep = share, clock, sleep
        self._share, self._debt_s = 1.0, 0.0
        self._read_at = float("-inf")

    def pause(self, worked_s: float) -> None:
        """Sleep after so many seconds of work."""
        if (now := self._clock()) - self._read_at >= READ_INTERVAL_S:
            self._read_at = now
            with contextlib.suppress(StoreUnavailable):  # as before, until it can be read again
                self._share = self._read_share()
        if self._share == 1:
            self._debt_s = 0.0
            return
        self._debt_s = min(self._debt_s + worked_s * (1 / self._share - 1), DEBT_MAX_S)
        slept_s = min(self._debt_s, SLEEP_MAX_S)
        self._sleep(slept_s)
        self._debt_s -= slept_s
