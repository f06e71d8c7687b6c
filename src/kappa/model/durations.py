"""Read durations as people write them: 90s, 10m, 2h, 365d. Nothing else."""

from __future__ import annotations

import re

_UNIT_US = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def duration_us(text: str) -> int:
    """Return a duration in microseconds.

    Raises:
        ValueError: It is not a positive whole number and a unit; the message says what is expected.

    >>> duration_us("10m")
    600000000
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})(ms|s|m|h|d)", text.strip())
    if match is None:
        raise ValueError(f"expected a duration such as 90s, 10m, 2h or 365d, got {text!r}")
    return int(match[1]) * _UNIT_US[match[2]]
