"""Bring parts up: start each when what it needs is ready, and wait until all of them answer at their own ports.

A process that lives is left alone. One that ends before all are ready is named to the caller, who may know a remedy,
such as another port; one that lives and does not answer in time is an error.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kappa.stack.errors import PartFailed
from kappa.stack.part import Part

READY_TIMEOUT_S = 120.0
_POLL_INTERVAL_S = 0.05
_LINES_MAX, _TAIL_BYTES = 10, 8_192
_FRAME = re.compile(r"\s+(at |\.\.\. \d+ more)")


def launch(
    parts: Sequence[Part],
    *,
    start: Callable[[Part], None],
    alive: Callable[[Part], bool],
    log_of: Callable[[str], Path],
    say: Callable[[str], None],
) -> Part | None:
    """Bring parts up; return the first that ended before all were ready, or None when they are.

    Raises:
        PartFailed: A part lives, but did not answer within `READY_TIMEOUT_S`.
    """
    waiting = {part.name: part for part in parts}
    began: dict[str, float] = {}
    ran_already = {part.name for part in parts if alive(part)}
    while waiting:
        for part in tuple(waiting.values()):
            if any(need in waiting for need in part.needs):
                continue
            if part.name not in began:
                began[part.name] = time.monotonic()
                if part.name not in ran_already:
                    start(part)
            elapsed_s = time.monotonic() - began[part.name]
            if answers(part) and alive(part):
                del waiting[part.name]
                how = "runs already" if part.name in ran_already else f"ready after {elapsed_s:.1f} s"
                say(f"{part.name}: {how}, {part.address}")
            elif elapsed_s > READY_TIMEOUT_S and alive(part):
                raise failed(part, f"does not answer after {elapsed_s:.0f} s", log_of(part.name))
        # One that was ready may have ended, too, and others wait for it in vain.
        ended = next((part for part in parts if part.name in began and not alive(part)), None)
        if ended is not None:
            return ended
        time.sleep(_POLL_INTERVAL_S)
    return None


def answers(part: Part) -> bool:
    """Say whether a part answers at its port now."""
    try:
        return part.answers()
    except OSError:
        return False


def failed(part: Part, reason: str, log: Path) -> PartFailed:
    """Return the error that says what a part said last."""
    return PartFailed(part=part.name, reason=reason, output=_last_words(log), log=str(log))


def last_lines(log: Path, count: int) -> Sequence[str]:
    """Return the last lines of a log, or none if there is no log."""
    try:
        with log.open("rb") as lines:
            lines.seek(max(0, log.stat().st_size - _TAIL_BYTES * max(1, count // _LINES_MAX)))
            return lines.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return ()


def _last_words(log: Path) -> str:
    """Return the last lines of a log that say something: in a trace of Java that is what was thrown, not from where."""
    lines = last_lines(log, 10 * _LINES_MAX)
    return "\n".join([line for line in lines if not _FRAME.match(line)][-_LINES_MAX:])
