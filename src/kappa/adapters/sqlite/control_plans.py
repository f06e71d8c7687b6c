"""Plans and diffs in the control store: documents that it does not look into."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from kappa.adapters.sqlite.control_file import ControlFile
from kappa.ports.plans import DiffRecord, PlanRecord, PlanState

# AUTOINCREMENT: the number of a deleted plan is never given to another.
SCHEMA = """
    CREATE TABLE plans (
        number INTEGER PRIMARY KEY AUTOINCREMENT, created_at TEXT NOT NULL, actor TEXT NOT NULL,
        document BLOB NOT NULL, state TEXT NOT NULL, steps_done INTEGER NOT NULL, changed_at TEXT NOT NULL
    );
    CREATE TABLE diffs (
        view TEXT, left_version INTEGER, right_version INTEGER, taken_at TEXT NOT NULL, document BLOB NOT NULL,
        PRIMARY KEY (view, left_version, right_version)
    );
"""

_SELECT = "SELECT number, created_at, actor, document, state, steps_done, changed_at FROM plans"

_SELECT_DIFF = """
    SELECT view, left_version AS "left", right_version AS "right", taken_at, document FROM diffs
    WHERE (view, left_version, right_version) = (?, ?, ?)
"""

_ADVANCE = """
    UPDATE plans SET steps_done = :steps_done, state = :state, changed_at = :now
    WHERE number = :number AND steps_done <= :steps_done AND (steps_done, state) <> (:steps_done, :state)
        AND state <> 'abandoned'
"""


class SqlitePlans(ControlFile):
    """Plans and diffs."""

    def add_plan(self, document: bytes, *, actor: str) -> PlanRecord:
        now = datetime.now(UTC)
        with self._transaction() as connection:
            connection.execute(
                "UPDATE plans SET state = ?, changed_at = ? WHERE state = ?",
                (PlanState.ABANDONED, now.isoformat(), PlanState.PLANNED),
            )
            (number,) = connection.execute(
                "INSERT INTO plans (created_at, actor, document, state, steps_done, changed_at)"
                " VALUES (?, ?, ?, ?, 0, ?) RETURNING number",
                (now.isoformat(), actor, document, PlanState.PLANNED, now.isoformat()),
            ).fetchone()
        return PlanRecord(number, now, actor, document, PlanState.PLANNED, 0, now)

    def plan(self, number: int) -> PlanRecord | None:
        found = self._records(PlanRecord, f"{_SELECT} WHERE number = ?", (number,))
        return found[0] if found else None

    def plans(self) -> Sequence[PlanRecord]:
        return self._records(PlanRecord, f"{_SELECT} ORDER BY number")

    def advance_plan(self, number: int, *, steps_done: int, state: PlanState) -> None:
        with self._transaction() as connection:
            connection.execute(
                _ADVANCE,
                {"number": number, "steps_done": steps_done, "state": state, "now": datetime.now(UTC).isoformat()},
            )

    def rewind_plan(self, number: int, *, steps_done: int) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE plans SET steps_done = ?, changed_at = ? WHERE number = ? AND state = ? AND steps_done > ?",
                (steps_done, datetime.now(UTC).isoformat(), number, PlanState.APPLYING, steps_done),
            )

    def delete_plan(self, number: int) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM plans WHERE number = ?", (number,))

    def save_diff(self, diff: DiffRecord) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO diffs VALUES (?, ?, ?, ?, ?)",
                (diff.view, diff.left, diff.right, diff.taken_at.isoformat(), diff.document),
            )

    def diff(self, view: str, left: int, right: int) -> DiffRecord | None:
        found = self._records(DiffRecord, _SELECT_DIFF, (view, left, right))
        return found[0] if found else None
