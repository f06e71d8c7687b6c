"""Read why a job failed out of what Flink and its client print: stack traces of Java around tracebacks of Python. Pure.

People are told the innermost cause in its own words. A failure is final if a restart would not help: somebody said so
with `FINAL:` in Python, or by Flink's `SuppressRestartsException`, as the sink does when it is fenced. If it has read
behind what its log still holds, it may help to start elsewhere, and whoever starts it says so in better words.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FINAL = re.compile(r"^(?:[\w.<>' ]+: )?FINAL: (.+)$", re.MULTILINE)
_NO_RESTART = "SuppressRestartsException"
# A line that names an exception: Java's causes have any name, what comes first in a trace one of these endings.
_NAMED = re.compile(r"^(?:Caused by: [\w.$]+|(?:[\w$]+\.)*[\w$]+(?:Exception|Error|Unavailable)): (.+)$")
_PEMJA = re.compile(r"^<class '[\w.]+'>: ")
_SHOWN_CHARACTERS_MAX = 500
_CHILD_ENDED = "Python process exits with code"
_NO_SLOTS = "NoResourceAvailableException"
_OUT_OF_RANGE = "org.apache.kafka.clients.consumer.OffsetOutOfRangeException"


class Failure(NamedTuple):
    """Why something failed.

    Attributes:
        reason: For people.
        final: Whether a restart would not help.
        out_of_range: Whether the log does not hold the offset that was to be read next.
    """

    reason: str
    final: bool
    out_of_range: bool = False


def failure_of(printed: str) -> Failure:
    r"""Return the failure that a stack trace, or a program's output, tells of.

    >>> failure_of("java.lang.RuntimeException: outer\n\tat a.B.c(B.java:1)\nCaused by: java.io.IOException: disk full")
    Failure(reason='disk full', final=False, out_of_range=False)
    >>> failure_of("Traceback\n  File 'x'\nValueError: FINAL: bundle 12 is damaged\n\n\tat org.apache.X")
    Failure(reason='bundle 12 is damaged', final=True, out_of_range=False)
    >>> failure_of("a.b.SuppressRestartsException: no restarts\nCaused by: kappa.flink.Fenced: its epoch is 2 now")
    Failure(reason='its epoch is 2 now', final=True, out_of_range=False)
    >>> failure_of("a.b.Wrapped: x\nCaused by: org.apache.kafka.clients.consumer.OffsetOutOfRangeException: 38 is gone")
    Failure(reason='38 is gone', final=False, out_of_range=True)
    >>> failure_of("")
    Failure(reason='no reason was given', final=False, out_of_range=False)
    """
    if said := _FINAL.search(printed):
        return Failure(_shortened(said[1]), final=True)
    if _NO_SLOTS in printed:
        return Failure("the cluster has too few free task slots for it", final=False)
    lines = [line.strip() for line in printed.splitlines() if line.strip() and not line.startswith(("\t", " "))]
    named = [match[1] for line in lines if (match := _NAMED.match(line))]
    # The client's last words are about its own child, which has said before what it died of.
    named = [each for each in named if not each.startswith(_CHILD_ENDED)] or named
    reason = next(reversed(named or lines), "no reason was given")
    return Failure(
        _shortened(_PEMJA.sub("", reason)), final=_NO_RESTART in printed, out_of_range=_OUT_OF_RANGE in printed
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]} ..."
