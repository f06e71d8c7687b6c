"""Say what nobody needs any more: rows of stopped versions, code that none runs from, old plans.

Pure. What a release names, what still runs, and what a plan names that can still be applied is never among it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import assert_never

import msgspec

from kappa.planning.plans import Plan, stopped_candidates
from kappa.planning.steps import CatchUp, Compare, Deploy, Gate, MakeSeed, Promote, Retire, Shift, Step
from kappa.ports.plans import PlanRecord, PlanState
from kappa.ports.release import Release
from kappa.ports.versions import BundleEntry, Version


class Expired(msgspec.Struct, frozen=True):
    """What can be deleted, in this order.

    Attributes:
        plans: Plans.
        versions: Versions whose rows can go; the versions stay listed.
        bundles: Bundles.
    """

    plans: tuple[PlanRecord, ...]
    versions: tuple[Version, ...]
    bundles: tuple[BundleEntry, ...]


def expired(
    *,
    versions: Sequence[Version],
    release: Release,
    plans: Sequence[tuple[PlanRecord, Plan | None]],
    bundles: Sequence[BundleEntry],
    before: datetime,
) -> Expired:
    """Return what nobody needs any more and was laid down before a time.

    Args:
        versions: All of them.
        release: The current one.
        plans: All of them; None stands for what cannot be read. While such a plan may go on, no row and no code goes.
        bundles: All of them.
        before: What was stopped, changed or stored later stays.
    """
    old_plans = [
        record
        for record, plan in plans
        if record.changed_at < before
        and (record.state is not PlanState.APPLYING or (plan is not None and stopped_candidates(plan, versions)))
    ]
    may_go_on = [
        plan
        for record, plan in plans
        if record not in old_plans and record.state in {PlanState.PLANNED, PlanState.APPLYING}
    ]
    if None in may_go_on:
        return Expired(tuple(old_plans), (), ())
    # Of one whose candidate was given up nothing is left to do.
    open_plans = [plan for plan in may_go_on if plan is not None and not stopped_candidates(plan, versions)]
    needed = {named for plan in open_plans for step in plan.steps for named in _named(step)}
    needed |= {
        (version.table.view, version.seed.base)
        for version in versions
        if version.seed is not None and not version.seeded and version.retired_at is None
    }
    old_versions = [
        version
        for version in versions
        if version.dropped_at is None
        and version.retired_at is not None
        and version.retired_at < before
        and (version.table.view, version.table.version) not in needed
        and not release.names(version.table.view, version.table.version)
    ]
    with_rows = [version for version in versions if version.dropped_at is None and version not in old_versions]
    # What a seed was made by explains its rows: kappa why folds by it.
    bases = {(version.table.view, version.seed.base) for version in with_rows if version.seed is not None}
    kept = {each.bundle for each in versions if each in with_rows or (each.table.view, each.table.version) in bases}
    kept |= {plan.bundle for plan in open_plans}
    return Expired(
        tuple(old_plans),
        tuple(old_versions),
        # One that was stored just now may belong to a plan that is not recorded yet.
        tuple(bundle for bundle in bundles if bundle.id not in kept and bundle.stored_at < before),
    )


def _named(step: Step) -> Iterator[tuple[str, int]]:
    """Yield every (view, version) that a step needs."""
    match step:
        case Deploy():
            if step.deployment.seed is not None:
                yield step.deployment.table.view, step.deployment.seed.base
        case MakeSeed():
            yield step.view, step.base
        case Compare() | Gate():
            yield step.view, step.left
            yield step.view, step.right
        case Promote():
            yield from step.versions.items()
        case CatchUp() | Shift():
            yield step.view, step.version
        case Retire():
            pass  # what is to be stopped is stopped already
        case _:
            assert_never(step)
