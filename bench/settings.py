"""How much is measured, and where the files go that it needs."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """What the command line says.

    Attributes:
        events: How many events are folded.
        memory_keys: How many keys the memory benchmark has.
        rounds: How often each contestant runs.
        folder: For logs and rows; empty, deleted afterwards.
    """

    events: int
    memory_keys: int
    rounds: int
    folder: Path

    @property
    def keys(self) -> int:
        """How many customers there are: 100,000 for 2 million events."""
        return max(1, self.events // 20)
