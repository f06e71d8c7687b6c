"""How far something has come that takes its time: what control yields while it works, for one place to show."""

from __future__ import annotations

import msgspec


class Advance(msgspec.Struct, frozen=True):
    """How far something has come.

    Attributes:
        done: In `unit`s.
        total: How many there are, or None while that is not known.
        unit: `events`, `rows`, `s`.
        note: What people should know about it, for example a rate; empty if nothing.
    """

    done: int
    total: int | None = None
    unit: str = "events"
    note: str = ""
