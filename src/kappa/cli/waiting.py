"""Follow something that takes its time and only waits: show how far it is, and let time pass."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TypeVar

from kappa.cli.output import Output
from kappa.control.advance import Advance

T = TypeVar("T")

_POLL_S = 0.1


def wait_for(work: Generator[Advance, None, T], out: Output, what: str) -> T:
    """Return what `work` comes to."""
    with out.progress(what, unit="events") as progress:
        while True:
            try:
                advance = next(work)
            except StopIteration as finished:
                result: T = finished.value
                return result
            progress(advance.done, total=advance.total, note=advance.note)
            time.sleep(_POLL_S)
