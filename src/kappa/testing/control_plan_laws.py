"""The laws of a control store about plans and diffs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

import msgspec
import pytest

from kappa.ports.control import ControlStore
from kappa.ports.plans import DiffRecord, PlanRecord, PlanState
from kappa.testing.control_laws import ControlLaws
from kappa.testing.processes import add_plans, run_together


def _states(control: ControlStore) -> list[tuple[int, PlanState]]:
    return [(plan.number, plan.state) for plan in control.plans()]


def _diff(*, left: int = 1, right: int = 2, document: bytes = b'{"changed":3}') -> DiffRecord:
    return DiffRecord("users", left, right, datetime(2026, 3, 1, 12, tzinfo=UTC), document)


class ControlPlanLaws(ControlLaws):
    """There is one plan to apply; how far it is never goes back."""

    def test_a_new_store_has_no_plan(self, new_control: ControlStore) -> None:
        assert (new_control.plans(), new_control.plan(1), new_control.diff("users", 1, 2)) == ([], None, None)

    def test_a_plan_is_kept_whole(self, new_control: ControlStore) -> None:
        document = '{"é":1}\n'.encode()

        plan = new_control.add_plan(document, actor="ana")

        at = plan.created_at
        assert at.tzinfo is UTC
        assert plan == PlanRecord(1, at, "ana", document, PlanState.PLANNED, 0, at)
        assert (new_control.plan(1), new_control.plans()) == (plan, [plan])

    def test_a_new_plan_abandons_those_that_are_only_planned(self, new_control: ControlStore) -> None:
        for state in (PlanState.APPLYING, PlanState.APPLIED, PlanState.ABANDONED, PlanState.PLANNED):
            number = new_control.add_plan(b"{}", actor="ana").number
            new_control.advance_plan(number, steps_done=0, state=state)
        (*_, planned) = new_control.plans()

        new_control.add_plan(b"{}", actor="ben")

        assert _states(new_control) == [
            (1, PlanState.APPLYING),
            (2, PlanState.APPLIED),
            (3, PlanState.ABANDONED),
            (4, PlanState.ABANDONED),
            (5, PlanState.PLANNED),
        ]
        assert new_control.plans()[3].changed_at > planned.changed_at

    def test_a_plan_advances(self, new_control: ControlStore) -> None:
        planned = new_control.add_plan(b"{}", actor="ana")

        new_control.advance_plan(1, steps_done=2, state=PlanState.APPLYING)

        plan = new_control.plan(1)
        assert plan is not None
        assert plan.changed_at > planned.changed_at
        assert plan == msgspec.structs.replace(
            planned, steps_done=2, state=PlanState.APPLYING, changed_at=plan.changed_at
        )

    def test_a_plan_never_goes_back(self, new_control: ControlStore) -> None:
        new_control.add_plan(b"{}", actor="ana")
        new_control.advance_plan(1, steps_done=2, state=PlanState.APPLIED)
        applied = new_control.plan(1)

        new_control.advance_plan(1, steps_done=1, state=PlanState.APPLYING)

        assert new_control.plan(1) == applied

    def test_an_abandoned_plan_stays_so(self, new_control: ControlStore) -> None:
        new_control.add_plan(b"{}", actor="ana")
        new_control.advance_plan(1, steps_done=2, state=PlanState.ABANDONED)
        abandoned = new_control.plan(1)

        new_control.advance_plan(1, steps_done=3, state=PlanState.APPLYING)

        assert new_control.plan(1) == abandoned

    def test_a_plan_under_way_can_be_told_to_do_steps_again(self, new_control: ControlStore) -> None:
        for state in (PlanState.APPLYING, PlanState.APPLIED):
            number = new_control.add_plan(b"{}", actor="ana").number
            new_control.advance_plan(number, steps_done=3, state=state)

        for number, steps_done in ((1, 4), (1, 2), (2, 2)):
            new_control.rewind_plan(number, steps_done=steps_done)

        assert [plan.steps_done for plan in new_control.plans()] == [2, 3]

    def test_noting_the_same_again_is_no_change(self, new_control: ControlStore) -> None:
        new_control.add_plan(b"{}", actor="ana")
        new_control.advance_plan(1, steps_done=2, state=PlanState.APPLYING)
        before = new_control.plan(1)

        new_control.advance_plan(1, steps_done=2, state=PlanState.APPLYING)

        assert new_control.plan(1) == before

    def test_plans_advance_apart_from_each_other(self, new_control: ControlStore) -> None:
        new_control.add_plan(b"{}", actor="ana")
        new_control.advance_plan(1, steps_done=0, state=PlanState.APPLYING)
        new_control.add_plan(b"{}", actor="ana")

        new_control.advance_plan(1, steps_done=1, state=PlanState.APPLYING)

        assert [plan.steps_done for plan in new_control.plans()] == [1, 0]

    def test_a_deleted_plan_is_gone_and_its_number_with_it(self, new_control: ControlStore) -> None:
        new_control.add_plan(b"{}", actor="ana")

        new_control.delete_plan(1)
        new_control.delete_plan(1)

        assert (new_control.plan(1), new_control.plans()) == (None, [])
        assert new_control.add_plan(b"{}", actor="ana").number == 2

    def test_no_plan_number_is_given_twice(
        self, open_control: Callable[[], ControlStore], new_control: ControlStore
    ) -> None:
        first, second = run_together(partial(add_plans, times=30), (open_control, "ana"), (open_control, "ben"))

        assert (first, second) == (sorted(first), sorted(second))
        assert sorted(first + second) == list(range(1, 61))
        assert [plan.state for plan in new_control.plans()] == [PlanState.ABANDONED] * 59 + [PlanState.PLANNED]

    def test_a_diff_is_kept_whole(self, new_control: ControlStore) -> None:
        new_control.save_diff(_diff())

        assert new_control.diff("users", 1, 2) == _diff()

    def test_a_diff_replaces_the_last_one_of_the_same_versions(self, new_control: ControlStore) -> None:
        new_control.save_diff(_diff())
        new_control.save_diff(_diff(document=b"{}"))

        assert new_control.diff("users", 1, 2) == _diff(document=b"{}")

    @pytest.mark.parametrize(("view", "left", "right"), [("users", 2, 1), ("users", 1, 3), ("cities", 1, 2)])
    def test_a_diff_is_of_its_versions_only(self, new_control: ControlStore, view: str, left: int, right: int) -> None:
        new_control.save_diff(_diff())

        assert new_control.diff(view, left, right) is None

    def test_plans_and_diffs_outlive_their_users(self, open_control: Callable[[], ControlStore]) -> None:
        with closing(open_control()) as control:
            plan = control.add_plan(b"{}", actor="ana")
            control.save_diff(_diff())

        with closing(open_control()) as control:
            assert (control.plans(), control.diff("users", 1, 2)) == ([plan], _diff())
