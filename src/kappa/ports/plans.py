"""Plans and diffs as they are kept: documents that `planning` understands, with what others must know of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec


class PlanState(StrEnum):
    """How far a plan is."""

    PLANNED = "planned"
    APPLYING = "applying"
    APPLIED = "applied"
    ABANDONED = "abandoned"


class PlanRecord(msgspec.Struct, frozen=True):
    """A plan as it is kept.

    Attributes:
        number: From 1, in order of making; never given twice.
        created_at: Aware UTC.
        actor: Who made it.
        document: The plan as JSON; it never changes.
        state: How far it is.
        steps_done: How many of its steps are complete, from the front.
        changed_at: When state or steps_done changed last, aware UTC.
    """

    number: int
    created_at: datetime
    actor: str
    document: bytes
    state: PlanState
    steps_done: int
    changed_at: datetime


class DiffRecord(msgspec.Struct, frozen=True):
    """The last diff of two versions.

    Attributes:
        view: The view.
        left, right: The versions.
        taken_at: When it was complete, aware UTC.
        document: The report as JSON.
    """

    view: str
    left: int
    right: int
    taken_at: datetime
    document: bytes


class PlanStore(Protocol):
    """Plans and diffs. Every method is one transaction."""

    def add_plan(self, document: bytes, *, actor: str) -> PlanRecord:
        """Keep a new plan, and abandon those that are only planned: there is one way forward."""

    def plan(self, number: int) -> PlanRecord | None:
        """Return a plan, or None."""

    def plans(self) -> Sequence[PlanRecord]:
        """Return all plans, oldest first."""

    def advance_plan(self, number: int, *, steps_done: int, state: PlanState) -> None:
        """Note that a plan's first `steps_done` steps are complete.

        With fewer than are recorded, or if the plan is abandoned, changes nothing.
        """

    def rewind_plan(self, number: int, *, steps_done: int) -> None:
        """Note that a plan under way has to do its steps behind the first `steps_done` again, if more are recorded."""

    def delete_plan(self, number: int) -> None:
        """Delete a plan. Idempotent."""

    def save_diff(self, diff: DiffRecord) -> None:
        """Keep a diff in place of an earlier one of the same versions."""

    def diff(self, view: str, left: int, right: int) -> DiffRecord | None:
        """Return the last diff of two versions, or None."""
