"""A plan: what has changed, what is to be done about it, and the state that it was made from. Plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from kappa.planning.changes import ChangeKind
from kappa.planning.steps import Promote, Step
from kappa.ports.profiles import Profile
from kappa.ports.release import Release
from kappa.ports.versions import Version

Strategy = Literal["full", "range", "parallel", "incremental"]

PLAN_FORMAT = 1


class Estimate(msgspec.Struct, frozen=True):
    """How much a replay reads and how long it takes.

    Attributes:
        events: Records to read, of all partitions.
        size_bytes: The space that they take in the log.
        replay_rate: Records per second that the version folds, measured on a sample of its own log.
        arrival_rate: Records per second appended lately.
        seconds: Until it has caught up; None for never.
        advice: What would help if it never catches up or takes long; empty otherwise.
        exact: Whether there are just so many events, or a few less.
    """

    events: int
    size_bytes: int
    replay_rate: float
    arrival_rate: float
    seconds: float | None
    advice: str = ""
    exact: bool = True


class ViewPlan(msgspec.Struct, frozen=True):
    """What a plan does with one view.

    Attributes:
        view: Its name.
        kind: What its change calls for.
        primary: The version that readers see, or None.
        candidate: The version that the plan deploys, or None.
        reasons: What has changed and what follows from it, a sentence each, for people.
        estimate: Of its replay; None without one.
        lost: Partition -> how many offsets at the log's start can no longer be read; empty while it is whole.
        profiles: What the candidate's job goes through, one after the other; none if it is deployed already, or where
            versions are no jobs.
    """

    view: str
    kind: ChangeKind
    primary: int | None
    candidate: int | None
    reasons: tuple[str, ...]
    estimate: Estimate | None = None
    lost: Mapping[int, int] = {}
    profiles: tuple[Profile, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """A frozen list of steps, and the state from which it was made.

    Attributes:
        format: `PLAN_FORMAT`.
        strategy: `full`: replay, diff, promote. `range`: the same with a seed corrected in a range of event time.
            `parallel`: replay and diff, for comparison. `incremental`: promote in gated shares of the keys.
        revision: Of the release.
        versions: View -> its highest version number, of all views.
        bundle: Of the code that was planned.
        views: One entry per view of the project, and per deployed view that is gone from it; or those asked for.
        steps: In the order in which they are walked; none if nothing is to be done, or a view is refused.
        warnings: What else is wrong, with the code or the cluster, and does not stand in the way, a sentence each.
    """

    format: int
    strategy: Strategy
    revision: int
    versions: Mapping[str, int]
    bundle: str
    views: tuple[ViewPlan, ...]
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[ViewPlan, ...]:
        """The views that stand in the way: while there is one, the plan has no steps."""
        return tuple(view for view in self.views if view.kind is ChangeKind.REFUSED)


def promotions(plan: Plan) -> dict[str, int]:
    """Return view -> the version that a plan promotes."""
    return {view: number for step in plan.steps if isinstance(step, Promote) for view, number in step.versions.items()}


def stopped_candidates(plan: Plan, versions: Iterable[Version]) -> list[Version]:
    """Return the candidates of a plan, among all versions, that were aborted or retired."""
    candidates = {(each.view, each.candidate) for each in plan.views}
    return [
        version
        for version in versions
        if version.retired_at is not None and (version.table.view, version.table.version) in candidates
    ]


def is_over(plan: Plan, release: Release, versions: Iterable[Version]) -> bool:
    """Say whether nothing is left of a plan: a candidate was given up, or all were promoted one by one."""
    wanted = promotions(plan)
    promoted = bool(wanted) and all(release.primaries.get(view) == number for view, number in wanted.items())
    return promoted or bool(stopped_candidates(plan, versions))


def read_plan(document: bytes) -> Plan | None:
    """Return a plan as it was kept, or None if it is of another format: another release of kappa made it."""
    try:
        plan = msgspec.json.decode(document, type=Plan)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
    return plan if plan.format == PLAN_FORMAT else None


def plan_schema() -> str:
    """Return the JSON schema of a plan, as `docs/plan.schema.json` has it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Plan)}
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=2).decode() + "\n"
