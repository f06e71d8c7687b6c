"""Wait for a condition in a test instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_INTERVAL_S = 0.02


def eventually(condition: Callable[[], T], *, timeout_s: float = 30.0, what: str = "") -> T:
    """Return the first true value of `condition`.

    Args:
        condition: Called again and again.
        timeout_s: How long to wait; generous, since only a failure takes that long.
        what: What was waited for, for the failure's message.

    Raises:
        AssertionError: It did not become true in time.

    >>> eventually(lambda: 42)
    42
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}; last value: {value!r}")
        time.sleep(_POLL_INTERVAL_S)
    return value
