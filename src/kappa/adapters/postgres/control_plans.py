"""Plans and diffs in the control store: documents that it does not look into."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from kappa.adapters.postgres.control_part import ControlPart
from kappa.ports.plans import DiffRecord, PlanRecord, PlanState

SCHEMA = """
    CREATE TABLE plans (
        number bigint PRIMARY KEY, created_at timestamptz NOT NULL, actor text NOT NULL, document bytea NOT NULL,
        state text NOT NULL, steps_done integer NOT NULL, changed_at timestamptz NOT NULL
    );
    CREATE TABLE plan_numbers (last bigint NOT NULL);
    INSERT INTO plan_numbers VALUES (0);
    CREATE TABLE diffs (
        view text, left_version integer, right_version integer, taken_at timestamptz NOT NULL, document bytea NOT NULL,
        PRIMARY KEY (view, left_version, right_version)
    );
"""

_SELECT = "SELECT number, created_at, actor, document, state, steps_done, changed_at FROM plans"

_SELECT_DIFF = """
    SELECT view, left_version AS "left", right_version AS "right", taken_at, document FROM diffs
    WHERE (view, left_version, right_version) = (%s, %s, %s)
"""

_ADVANCE = """
    UPDATE plans SET steps_done = %(steps_done)s, state = %(state)s, changed_at = %(now)s
    WHERE number = %(number)s AND steps_done <= %(steps_done)s
    AND (steps_done, state) <> (%(steps_done)s, %(state)s) AND state <> 'abandoned'
"""


class PostgresPlans(ControlPart):
    """Plans and diffs."""

    def add_plan(self, document: bytes, *, actor: str) -> PlanRecord:
        now = datetime.now(UTC)
        with self._transaction() as connection:
            connection.execute(
                "UPDATE plans SET state = %s, changed_at = %s WHERE state = %s",
                (PlanState.ABANDONED.value, now, PlanState.PLANNED.value),
            )
            # Not a sequence, which would leave gaps; and the number of a deleted plan is never given to another.
            ((number,),) = connection.execute("UPDATE plan_numbers SET last = last + 1 RETURNING last").fetchall()
            connection.execute(
                "INSERT INTO plans VALUES (%s, %s, %s, %s, %s, 0, %s)",
                (number, now, actor, document, PlanState.PLANNED.value, now),
            )
        return PlanRecord(number, now, actor, document, PlanState.PLANNED, 0, now)

    def plan(self, number: int) -> PlanRecord | None:
        found = self._records(PlanRecord, f"{_SELECT} WHERE number = %s", (number,))
        return found[0] if found else None

    def plans(self) -> Sequence[PlanRecord]:
        return self._records(PlanRecord, f"{_SELECT} ORDER BY number")

    def advance_plan(self, number: int, *, steps_done: int, state: PlanState) -> None:
        with self._transaction() as connection:
            connection.execute(
                _ADVANCE,
                {"number": number, "steps_done": steps_done, "state": state.value, "now": datetime.now(UTC)},
            )

    def rewind_plan(self, number: int, *, steps_done: int) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE plans SET steps_done = %s, changed_at = %s"
                " WHERE number = %s AND state = %s AND steps_done > %s",
                (steps_done, datetime.now(UTC), number, PlanState.APPLYING.value, steps_done),
            )

    def delete_plan(self, number: int) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM plans WHERE number = %s", (number,))

    def save_diff(self, diff: DiffRecord) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO diffs VALUES (%s, %s, %s, %s, %s) ON CONFLICT (view, left_version, right_version)"
                " DO UPDATE SET taken_at = excluded.taken_at, document = excluded.document",
                (diff.view, diff.left, diff.right, diff.taken_at, diff.document),
            )

    def diff(self, view: str, left: int, right: int) -> DiffRecord | None:
        found = self._records(DiffRecord, _SELECT_DIFF, (view, left, right))
        return found[0] if found else None
