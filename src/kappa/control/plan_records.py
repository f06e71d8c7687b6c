"""Which of the kept plans is meant, whether it may still be carried out, and what it takes the place of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kappa.errors import InputError, PlanNotFound, PlanStale
from kappa.planning.plans import Plan, is_over, promotions, read_plan, stopped_candidates
from kappa.planning.steps import Compare, Deploy, released
from kappa.ports import ControlStore, PlanRecord, PlanState, Release, Version


def plan_of(record: PlanRecord) -> Plan:
    """Return the plan that a record holds.

    Raises:
        PlanStale: Another release of kappa made it.
    """
    plan = read_plan(record.document)
    if plan is None:
        raise PlanStale(plan=record.number, reason="another release of kappa made it")
    return plan


def current_plan(control: ControlStore, number: int | None = None) -> PlanRecord:
    """Return a plan by its number, or the newest.

    Raises:
        PlanNotFound: There is no such plan.
    """
    plans = control.plans()
    found = plans[-1] if plans and number is None else next((plan for plan in plans if plan.number == number), None)
    if found is None:
        raise PlanNotFound(
            "there is no plan" if number is None else f"there is no plan {number}", next_step="make one: kappa plan"
        )
    return found


def reviewed_plan(control: ControlStore) -> PlanRecord:
    """Return the plan that a promotion without words is to finish: the one that waits for its review.

    Raises:
        PlanNotFound: There is no plan.
        InputError: Several wait; or none does: nothing is ready to be reviewed, or what was promoted was undone.
    """
    waiting = waiting_plans(control)
    if len(waiting) > 1:
        said = ", ".join(f"plan {each.number} for {' and '.join(changed_views(plan_of(each)))}" for each in waiting)
        raise InputError(
            f"several plans wait for their review: {said}",
            next_step=f"say which one: kappa apply {waiting[-1].number} --promote",
        )
    if waiting:
        return waiting[0]
    newest = current_plan(control)
    _refuse_unreviewed(newest, control.release())
    return newest


def waiting_plans(control: ControlStore) -> list[PlanRecord]:
    """Return the plans that wait for their review, or were interrupted behind it, oldest first."""
    release, versions = control.release(), control.versions()
    return [
        record
        for record in control.plans()
        if record.state is PlanState.APPLYING
        and (plan := read_plan(record.document)) is not None
        and (review := _review(plan)) is not None
        and record.steps_done >= review
        and not is_over(plan, release, versions)
    ]


def changed_views(plan: Plan) -> tuple[str, ...]:
    """Return the views that a plan changes."""
    return tuple(view.view for view in plan.views if view.candidate is not None)


def refuse_changed_code(record: PlanRecord, fingerprints: Mapping[str, str]) -> None:
    """Refuse a plan of other code than the project has now; by its number it can be applied all the same.

    Args:
        record: The plan.
        fingerprints: View -> fingerprint of the project's code.

    Raises:
        PlanStale: A view that the plan deploys has changed since.
    """
    for step in plan_of(record).steps:
        if isinstance(step, Deploy) and fingerprints.get(step.deployment.table.view) != step.deployment.fingerprint:
            raise PlanStale(
                plan=record.number,
                reason=f"{step.deployment.table.view} has changed since it was made",
                next_step=f"make a new one: kappa plan; or apply the code as it was then: kappa apply {record.number}",
            )


def refuse_stale(record: PlanRecord, plan: Plan, release: Release, versions: Sequence[Version]) -> None:
    """Refuse a plan that does not fit what is deployed now.

    Raises:
        PlanStale: It does not.
    """
    if plan.refused:
        views = ", ".join(view.view for view in plan.refused)
        raise PlanStale(plan=record.number, reason=f"it refused to change {views}")
    refuse_abandoned(record)
    if record.state is PlanState.PLANNED:
        if release.revision != plan.revision:
            raise PlanStale(plan=record.number, reason="the release has changed since it was made")
        # Versions come by number, so the last of a view is its newest.
        if {version.table.view: version.table.version for version in versions} != plan.versions:
            raise PlanStale(plan=record.number, reason="other versions were deployed since it was made")
    for version in stopped_candidates(plan, versions):
        table = version.table
        raise PlanStale(plan=record.number, reason=f"{table.view} v{table.version} was aborted or retired")


def refuse_abandoned(record: PlanRecord) -> None:
    """Refuse a plan in whose place another one was begun.

    Raises:
        PlanStale: It was.
    """
    if record.state is PlanState.ABANDONED:
        raise PlanStale(plan=record.number, reason="a later plan took its place")


def give_up_others(record: PlanRecord, plan: Plan, control: ControlStore) -> list[PlanRecord]:
    """Give up the other plans under way that change a view which this one changes, and return them."""
    changed = set(changed_views(plan))
    given_up = []
    for other in control.plans():
        if other.number != record.number and other.state is PlanState.APPLYING:
            its = read_plan(other.document)
            if its is None or not changed.isdisjoint(changed_views(its)):
                control.advance_plan(other.number, steps_done=other.steps_done, state=PlanState.ABANDONED)
                given_up.append(other)
    return given_up


def _review(plan: Plan) -> int | None:
    """Return how many steps come before the review of a plan; None if it ends without one."""
    return next((number for number, step in enumerate(plan.steps) if released(step)), None)


def _refuse_unreviewed(record: PlanRecord, release: Release) -> None:
    """Refuse to finish a plan that has not come to its review, that ends without one, or that was undone since."""
    plan = plan_of(record)
    review = _review(plan)
    candidates = {each.view: each.candidate for each in plan.views if each.candidate and each.primary}
    named = " ".join(f"{view} v{number}" for view, number in candidates.items())
    if review is None:
        # Those of another key cannot be compared.
        compared = any(isinstance(step, Compare) for step in plan.steps)
        choose = f"kappa promote {named}{'' if compared else ' --force'}"
        raise InputError(
            f"plan {record.number} promotes nothing",
            next_step=f"{'compare' if compared else 'look'}, then choose: {choose}" if named else "kappa versions",
        )
    back = {view: number for view, number in promotions(plan).items() if release.primaries.get(view) != number}
    if record.state is PlanState.APPLIED and back:
        served = " and ".join(f"{view} is served from v{release.primaries.get(view)}" for view in back)
        again = " ".join(f"{view} v{number}" for view, number in back.items())
        raise InputError(
            f"plan {record.number} is applied already, but {served} since",
            next_step=f"if its versions are wanted again: kappa promote {again}",
        )
    if record.state is not PlanState.APPLIED and record.steps_done < review:
        raise InputError(
            f"plan {record.number} has not come to its review yet: {record.steps_done} of the {review} steps before it"
            " are done",
            next_step=f"kappa apply {record.number}, then kappa promote; or both in one: "
            f"kappa apply {record.number} --promote",
        )
