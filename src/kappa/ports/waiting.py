"""Do what a store may be unable to do now, and try again until it can: the one way to wait for what is away.

How time passes, who is told why, and when to give up is the `Waiter`'s: a worker process, or a command at a terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from kappa.errors import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

RETRY_DELAY_S, RETRY_DELAY_MAX_S = 0.2, 5.0


class Stopped(Exception):
    """Whoever waits was asked to stop. Not an error."""


class Waiter(Protocol):
    """How somebody who works lets time pass."""

    def wait(self, seconds: float, *, reason: str = "") -> None:
        """Wait so long, or not at all; `reason` says why no progress is made.

        Raises:
            Stopped: As soon as it is asked to stop, or if it was already.
        """


def patiently(waiter: Waiter, action: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Do something that a store may be unable to do now; try again until it can.

    Raises:
        Stopped: While waiting.
        StoreUnavailable: Waiting is no help.
    """
    delay_s = RETRY_DELAY_S
    while True:
        try:
            return action(*args, **options)
        except StoreUnavailable as error:
            if not error.retryable:
                raise
            waiter.wait(delay_s, reason=error.message)
            delay_s = min(2 * delay_s, RETRY_DELAY_MAX_S)
