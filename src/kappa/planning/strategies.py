"""Decide what to do about a project's code: compare it with what is deployed, and list the steps. Pure.

It takes facts and gives a plan. It reads no store, measures nothing, and never leaves a reader with less than before:
what cannot be done safely is refused, with the reason, and a plan in which a view is refused has no steps at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from kappa.planning.changes import ChangeKind, compare_parts
from kappa.planning.diffs import incomparable
from kappa.planning.estimates import estimate_replay, processes, subtasks
from kappa.planning.facts import Facts, SeedOffer, ViewFacts
from kappa.planning.jobs import profiles_ahead, slot_warnings
from kappa.planning.plans import PLAN_FORMAT, Plan, ViewPlan
from kappa.planning.seeds import counts_in_range_only
from kappa.planning.steps import CatchUp, Compare, Deploy, Gate, MakeSeed, Promote, Retire, Shift, Step
from kappa.planning.wording import change_sentences
from kappa.ports.profiles import Profile
from kappa.ports.release import Release
from kappa.ports.versions import Deployment, Seed, Version


class _Change(msgspec.Struct, frozen=True):
    """What is to be done with a view that changes.

    Attributes:
        view: Its name.
        primary: The version that readers see, or None.
        candidate: The version that takes its place.
        deployment: What to deploy, or None if the candidate is deployed already, with these expectations.
        reused: Whether the candidate is deployed already.
        seed_base: The version that its seed is made of, if that is still to be done.
        superseded: Candidates that give way to this one.
        displaced: What a rollback returns to until the candidate is promoted, if that is another version.
        incomparable: Why the candidate's rows cannot be compared with the primary's; empty if they can.
    """

    view: str
    primary: int | None
    candidate: int
    deployment: Deployment | None
    reused: bool
    seed_base: int | None
    superseded: tuple[int, ...]
    displaced: int | None
    incomparable: str


class _Decision(msgspec.Struct, frozen=True):
    """What a plan says of a view, and what is to be done with it: nothing, if nothing has changed or it is refused."""

    plan: ViewPlan
    change: _Change | None = None


def build_plan(facts: Facts) -> Plan:
    """Return the plan for what is known."""
    decisions = [_decide(view, facts) for view in facts.views.values()]
    changes = [decision.change for decision in decisions if decision.change is not None]
    refused = any(decision.plan.kind is ChangeKind.REFUSED for decision in decisions)
    ahead = _profiles(changes, facts)
    return Plan(
        format=PLAN_FORMAT,
        strategy=facts.strategy,
        revision=facts.release.revision,
        versions=_newest(facts.versions),
        bundle=facts.bundle,
        views=(
            *(
                _estimated(
                    msgspec.structs.replace(decision.plan, profiles=ahead.get(decision.plan.view, ())), changes, facts
                )
                for decision in decisions
            ),
            *(_gone(name, facts) for name in facts.gone),
        ),
        steps=() if refused else (*_preparing(changes), *_releasing(changes, facts)),
        warnings=facts.warnings if refused else (*facts.warnings, *_about_slots(changes, ahead, facts)),
    )


def _decide(view: ViewFacts, facts: Facts) -> _Decision:
    name = view.table.view
    live = [version for version in facts.versions if version.table.view == name and version.retired_at is None]
    number = facts.release.primaries.get(name)
    primary = next((version for version in live if version.table.version == number), None)
    if primary is not None and primary.fingerprint == view.fingerprint and not view.anew:
        return _Decision(_unchanged(view, primary, live, facts))
    said: tuple[str, ...] = ("it has no version yet",)
    if primary is not None:
        said = tuple(change_sentences(compare_parts(primary.parts, view.parts), users=view.users))
    reused = _reusable(view, live, facts)
    if refusal := _refusal(view, live, reused, facts):
        return _Decision(ViewPlan(name, ChangeKind.REFUSED, number, None, (*said, refusal), lost=_lost(view, facts)))
    change = _change(view, primary, live, reused, facts)
    reasons = (
        *said,
        *_about_range(view, primary, facts),
        _consequence(view, change, facts.release),
        *_about_comparing(change),
        *view.notes,
    )
    return _Decision(ViewPlan(name, _kind(view, primary), number, change.candidate, reasons), change)


def _kind(view: ViewFacts, primary: Version | None) -> ChangeKind:
    if primary is None:
        return ChangeKind.NEW
    migrated = isinstance(view.seed, SeedOffer) and view.seed.seed.kind == "migration"
    return ChangeKind.MIGRATE if migrated else ChangeKind.REPLAY


def _change(
    view: ViewFacts, primary: Version | None, live: Sequence[Version], reused: Version | None, facts: Facts
) -> _Change:
    name, number = view.table.view, primary.table.version if primary else None
    seed = _seed_of(view)
    former = facts.release.formers.get(name)
    warm = former.version if former else None
    candidate = reused.table.version if reused else _newest(facts.versions).get(name, 0) + 1
    deployment: Deployment | None = Deployment(
        table=msgspec.structs.replace(view.table, version=candidate),
        fingerprint=view.fingerprint,
        parts=view.parts,
        bundle=facts.bundle,
        seed=seed,
        expectations=view.expectations,
    )
    if reused is not None:
        # Deploying a first version is also what makes it primary, which may have been interrupted between the two.
        # And what is expected of a candidate may have changed since it was deployed, which calls for no other one.
        again = primary is None or dict(reused.expectations) != dict(view.expectations)
        deployment = _deployment_of(reused, view.expectations) if again else None
    return _Change(
        view=name,
        primary=number,
        candidate=candidate,
        deployment=deployment,
        reused=reused is not None,
        seed_base=seed.base if seed is not None and not (reused and reused.seeded) else None,
        superseded=tuple(
            version.table.version for version in live if version.table.version not in {number, candidate, warm}
        ),
        displaced=None if warm == candidate else warm,
        incomparable=(primary and incomparable(primary.table, reused.table if reused else view.table)) or "",
    )


def _deployment_of(version: Version, expectations: Mapping[str, str]) -> Deployment:
    deployed = {name: getattr(version, name) for name in Deployment.__struct_fields__}
    return Deployment(**deployed | {"expectations": expectations})


def _seed_of(view: ViewFacts) -> Seed | None:
    return view.seed.seed if isinstance(view.seed, SeedOffer) else None


def _unchanged(view: ViewFacts, primary: Version, live: Sequence[Version], facts: Facts) -> ViewPlan:
    name, number = view.table.view, primary.table.version
    former = facts.release.formers.get(name)
    reasons = []
    if dict(primary.expectations) != dict(view.expectations):
        reasons.append("what is expected of its next version has changed; that folds nothing")
    elif primary.bundle != facts.bundle:
        reasons.append("only code that it does not fold with has changed")
    kind = ChangeKind.METADATA_ONLY if reasons else ChangeKind.UNCHANGED
    if counts_in_range_only(primary, facts.versions):
        reasons.append(f"v{number} counts this code for a range of events; to count it for all: kappa plan {name}")
    for version in live:
        other = version.table.version
        if other != number and not (former and former.version == other):
            reasons.append(
                f"v{other} is a candidate with other code: kappa diff {name}, or kappa abort {name} v{other}"
            )
    return ViewPlan(name, kind, number, None, tuple(reasons))


def _gone(name: str, facts: Facts) -> ViewPlan:
    reason = f"the code has it no more; it goes on from its own copy of the code until: kappa retire {name} --all"
    return ViewPlan(name, ChangeKind.GONE, facts.release.primaries.get(name), None, (reason,))


def _refusal(view: ViewFacts, live: Sequence[Version], reused: Version | None, facts: Facts) -> str:
    """Return why nothing can be done safely; empty if something can."""
    name = view.table.view
    if view.unsound:
        return f"{view.unsound}: a replay would give other rows each time; see kappa check"
    canary = facts.release.canaries.get(name)
    if canary and any(each.table.version == canary.version for each in live) and not _is(reused, canary.version):
        return (
            f"v{canary.version} serves {canary.percent:g} % of the keys: first promote it, kappa promote {name} "
            f"v{canary.version}, or abort it, kappa abort {name} v{canary.version}"
        )
    lost = _lost(view, facts)
    if not lost or reused is not None or isinstance(view.seed, SeedOffer):
        return ""
    missing = ", ".join(f"offsets 0 to {start - 1:,} of partition {partition}" for partition, start in lost.items())
    why = f", and no seed can be made: {view.seed}" if view.seed else ""
    return f"its replay needs history that the log '{view.table.log}' no longer holds, {missing}{why}"


def _lost(view: ViewFacts, facts: Facts) -> Mapping[int, int]:
    return facts.logs[view.table.log].lost if view.table.log in facts.logs else {}


def _reusable(view: ViewFacts, live: Sequence[Version], facts: Facts) -> Version | None:
    """Return a version that runs and is what would be deployed: the former primary, or else the newest candidate."""
    name, seed = view.table.view, _seed_of(view)
    former = facts.release.formers.get(name)
    same = [
        version
        for version in live
        if version.fingerprint == view.fingerprint and not _is(version, facts.release.primaries.get(name))
    ]
    for version in same:
        # Its rows are those of this code for all events, whatever it started from.
        is_former = former is not None and _is(version, former.version)
        whole = not counts_in_range_only(version, facts.versions) and not (seed and seed.kind == "range")
        if is_former and whole:
            return version
    for version in reversed(same):
        # The function that migrates rows is no part of the fingerprint: it may be what was mended.
        migrated_alike = seed is None or seed.kind != "migration" or version.bundle == facts.bundle
        if version.seed == seed and migrated_alike:
            return version
    return None


def _is(version: Version | None, number: int | None) -> bool:
    return version is not None and version.table.version == number


def _about_range(view: ViewFacts, primary: Version | None, facts: Facts) -> Iterator[str]:
    """Say that a replay ends what a range replay had limited, and that a migration does not."""
    if primary is None or not counts_in_range_only(primary, facts.versions):
        return
    name, number = primary.table.view, primary.table.version
    said = f"v{number} counts its code for a range of events only"
    if _seed_of(view) is None:
        yield f"{said}; a replay counts it for all of them"
    else:
        yield f"{said}, and so will the new version; once that is served, kappa plan {name} counts it for all"


def _about_comparing(change: _Change) -> Iterator[str]:
    """Say that nothing but its readers can judge a candidate that cannot be compared, so that the plan does not."""
    if change.incomparable:
        candidate = f"{change.view} v{change.candidate}"
        yield (
            f"{change.incomparable}: v{change.primary} and v{change.candidate} cannot be compared, and the plan does "
            f"not promote it; look at its rows, kappa get {change.view} KEY --version v{change.candidate}, and change "
            f"over: kappa promote {candidate} --force"
        )


def _consequence(view: ViewFacts, change: _Change, release: Release) -> str:
    """Return what follows from the changes."""
    former = release.formers.get(change.view)
    if former and former.version == change.candidate:
        return (
            f"v{change.candidate} has this code and is still warm: kappa rollback {change.view} returns to it at once"
        )
    if change.reused and change.primary is not None:
        if change.deployment is not None:
            return f"v{change.candidate} has this code already; what is expected of it is new"
        return f"v{change.candidate} has this code already, so nothing is deployed"
    if isinstance(view.seed, SeedOffer):
        return view.seed.explanation
    if change.primary is None:
        return "it is served as soon as it is deployed: there is nothing better to show"
    return f"the log is replayed: {view.seed}" if view.seed else "the log is replayed"


def _estimated(plan: ViewPlan, changes: Sequence[_Change], facts: Facts) -> ViewPlan:
    """Add the estimate of a replay, which shares the machine with those of the other views."""
    replays = {
        change.view: change.deployment.table
        for change in changes
        if change.deployment and change.seed_base is None and (change.primary is None or not change.reused)
    }
    table = replays.get(plan.view)
    if table is None or (rate := facts.views[plan.view].worker_rate) is None:
        return plan
    log = facts.logs[table.log]
    if plan.profiles:
        workers = subtasks(log, table, plan.profiles[0])
    else:
        running = sum(each.group_count for each in replays.values())
        workers = processes(log, table, cores=facts.cores, running=running)
    return msgspec.structs.replace(plan, estimate=estimate_replay(log, workers, worker_rate=rate))


def _profiles(changes: Sequence[_Change], facts: Facts) -> dict[str, tuple[Profile, ...]]:
    """Return view -> what the job of its new version goes through; a version that is there already has its job."""
    if facts.jobs is None:
        return {}
    return {
        change.view: profiles_ahead(change.deployment, facts.logs.get(change.deployment.table.log), facts.jobs)
        for change in changes
        if change.deployment is not None and not change.reused
    }


def _about_slots(changes: Sequence[_Change], ahead: Mapping[str, Sequence[Profile]], facts: Facts) -> Iterator[str]:
    if facts.jobs is None or not ahead:
        return
    superseded = {(change.view, number) for change in changes for number in change.superseded}
    live = [version.table for version in facts.versions if version.retired_at is None]
    running = [table for table in live if (table.view, table.version) not in superseded]
    yield from slot_warnings(facts.jobs, ahead=ahead, running=running)


def _preparing(changes: Sequence[_Change]) -> Iterator[Step]:
    """Yield what no reader sees, of all views kind by kind, so that they replay side by side."""
    for change in changes:
        yield from (Retire(change.view, version, aborted=True) for version in change.superseded)
    yield from (Deploy(change.deployment) for change in changes if change.deployment is not None)
    yield from (MakeSeed(each.view, each.candidate, each.seed_base) for each in changes if each.seed_base is not None)
    yield from (CatchUp(change.view, change.candidate) for change in changes)
    # The first version of a view is served from its deployment on: there is nothing to compare it with.
    yield from (Compare(*each) for each in _replacing(changes))


def _replacing(changes: Sequence[_Change]) -> list[tuple[str, int, int]]:
    """Return view, primary and candidate of those that the plan may promote."""
    return [
        (change.view, change.primary, change.candidate)
        for change in changes
        if change.primary is not None and not change.incomparable
    ]


def _releasing(changes: Sequence[_Change], facts: Facts) -> Iterator[Step]:
    """Yield what makes readers see the candidates, all views at one moment, and what that displaces."""
    replacing = _replacing(changes)
    if facts.strategy == "parallel" or not replacing:
        return
    for percent in facts.shares if facts.strategy == "incremental" else ():
        yield from (Shift(view, candidate, percent) for view, _, candidate in replacing)
        # All views serve their shares meanwhile, so one pause is enough.
        pauses = (facts.pause_s, *(0.0 for _ in replacing))
        yield from (Gate(*each, pause_s) for each, pause_s in zip(replacing, pauses, strict=False))
    yield Promote({view: candidate for view, _, candidate in replacing})
    promoted = {view for view, *_ in replacing}
    yield from (
        Retire(change.view, change.displaced)
        for change in changes
        if change.displaced is not None and change.view in promoted
    )


def _newest(versions: Sequence[Version]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for version in versions:
        view = version.table.view
        newest[view] = max(version.table.version, newest.get(view, 0))
    return newest
