"""Walk a plan: carry out its steps in order, and go on where it was if it was interrupted.

Every step is idempotent and noted when it is complete, so a walk that is killed anywhere and started again ends in the
same state. Before the first step that readers would see it stops for a review, unless it is told to promote.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from typing import Protocol, TypeVar, assert_never

import msgspec

from kappa.control.advance import Advance
from kappa.control.code import LoadCode
from kappa.control.diffing import diff_and_keep
from kappa.control.history import new_entry
from kappa.control.plan_records import give_up_others, plan_of, refuse_abandoned, refuse_stale
from kappa.control.positions import Goal, OpenLog, position_of
from kappa.control.readiness import diff_objection, live_version, refuse_diff
from kappa.control.releasing import Releasing
from kappa.control.running import not_at_work
from kappa.control.seeding import make_seed
from kappa.control.versions import serve_first
from kappa.errors import ReleaseRefused, WorkerFailed
from kappa.planning.catch_up import Estimator, duration_text
from kappa.planning.plans import Plan
from kappa.planning.releases import primary_of, traffic_percent
from kappa.planning.steps import (
    CatchUp,
    Compare,
    Deploy,
    Gate,
    MakeSeed,
    Promote,
    Retire,
    Shift,
    Step,
    describe,
    released,
    still_done,
)
from kappa.ports import ControlStore, PlanRecord, PlanState, RunReport, Version, ViewStore

T = TypeVar("T")

POLL_S = 0.1
# How long a promotion or a share waits for a candidate that has caught up before and is a commit behind now.
WAIT_S = 30.0


class Runner(Protocol):
    """Sees to it that the project's versions run: in this process if no other one runs them."""

    def poll(self) -> RunReport | None:
        """Look after the workers, and return what the process that runs them said last."""


class StepAdvance(msgspec.Struct, frozen=True):
    """How far a step of a plan is.

    Attributes:
        number: Of the step, from 1.
        text: What it does.
        complete: Whether it is done.
        advance: How far it is; None for a step that takes no time.
        found: What people should know of what it found, once it is done; empty if nothing.
    """

    number: int
    text: str
    complete: bool
    advance: Advance | None = None
    found: str = ""


class Applied(msgspec.Struct, frozen=True):
    """Where a plan stands after a walk.

    Attributes:
        plan: Its number.
        state: `applied`, or `applying` when it waits for a review.
        steps_done, step_count: How many of its steps are complete, and how many there are.
        waits_before: What the next step does, if the plan waits for a review before it.
    """

    plan: int
    state: PlanState
    steps_done: int
    step_count: int
    waits_before: str | None = None


class Applying:
    """Walks plans in the name of one person."""

    def __init__(
        self,
        *,
        control: ControlStore,
        store: ViewStore,
        open_log: OpenLog,
        load_code: LoadCode,
        runner: Runner,
        releasing: Releasing,
        actor: str,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._control, self._store, self._open_log, self._load_code = control, store, open_log, load_code
        self._runner, self._releasing, self._actor, self._pause = runner, releasing, actor, pause

    def walk(self, record: PlanRecord, *, promote: bool) -> Generator[StepAdvance, None, Applied]:
        """Carry out what is left of a plan. Ends before the first step that readers would see unless `promote`.

        Raises:
            PlanStale: The project has changed since the plan was made, or another plan took its place.
            WorkerFailed: A candidate cannot be folded.
            ReleaseRefused: A candidate is not fit to be served.
            SeedRefused: A seed cannot be made.
        """
        plan = plan_of(record)
        refuse_stale(record, plan, self._control.release(), self._control.versions())
        if record.state is PlanState.PLANNED:
            for other in give_up_others(record, plan, self._control):
                yield StepAdvance(0, f"give up plan {other.number}, which this one takes the place of", complete=True)
            self._control.advance_plan(record.number, steps_done=0, state=PlanState.APPLYING)
        done = still_done(plan.steps, record.steps_done, self._control.release())
        self._control.rewind_plan(record.number, steps_done=done)
        for number, step in enumerate(plan.steps[done:], start=done + 1):
            if released(step) and not promote:
                return Applied(record.number, PlanState.APPLYING, number - 1, len(plan.steps), describe(step))
            yield StepAdvance(number, describe(step), complete=False)
            self._refuse_given_up(record.number)
            for advance in self._carry_out(number, step, record, plan):
                yield StepAdvance(number, describe(step), complete=False, advance=advance)
            self._control.advance_plan(record.number, steps_done=number, state=PlanState.APPLYING)
            yield StepAdvance(number, describe(step), complete=True, found=self._found(step))
        self._control.advance_plan(record.number, steps_done=len(plan.steps), state=PlanState.APPLIED)
        self._control.record(
            new_entry(self._actor, "apply", detail=f"plan {record.number}", entry_id=f"plan {record.number} applied")
        )
        return Applied(record.number, PlanState.APPLIED, len(plan.steps), len(plan.steps))

    def _refuse_given_up(self, number: int) -> None:
        """Refuse to go on with a plan in whose place somebody has begun another one meanwhile.

        Raises:
            PlanStale: That is so.
        """
        if (record := self._control.plan(number)) is not None:
            refuse_abandoned(record)

    def _carry_out(self, number: int, step: Step, record: PlanRecord, plan: Plan) -> Generator[Advance, None, None]:
        match step:
            case Deploy():
                self._deploy(step, f"plan {record.number} step {number}")
            case MakeSeed():
                version, base = self._version(step.view, step.version), self._version(step.view, step.base)
                with self._open_log(base.table.log) as log:
                    seed = make_seed(
                        version, base, store=self._store, control=self._control, log=log, load_code=self._load_code
                    )
                    yield from self._while_running(seed)
            case CatchUp():
                yield from self._catch_up(self._version(step.view, step.version))
            case Compare():
                yield from self._compare(step.view, step.left, step.right)
            case Shift():
                self._refuse_unfit(step)
                shares = {step.version: step.percent}
                yield from self._waiting(self._releasing.shift(step.view, shares, wait_s=WAIT_S))
            case Gate():
                earlier = plan.steps[: number - 1]
                yield from self._gate(step, record, {each.view: each for each in earlier if isinstance(each, Shift)})
            case Promote():
                yield from self._waiting(self._releasing.promote(step.versions, wait_s=WAIT_S))
            case Retire():
                self._retire(step)
            case _:
                assert_never(step)

    def _retire(self, step: Retire) -> None:
        if step.aborted:
            self._releasing.abort(step.view, step.version)
        # Somebody may have rolled back since the plan was made: then it is what the next rollback returns to.
        elif not self._control.release().names(step.view, step.version):
            self._releasing.retire(step.view, step.version)

    def _found(self, step: Step) -> str:
        match step:
            case MakeSeed():
                return self._version(step.view, step.version).seed_note
            case Compare():
                return diff_objection(self._control, step.view, step.left, step.right) or ""
            case _:
                return ""

    def _refuse_unfit(self, step: Shift) -> None:
        """Refuse a share for a candidate whose diff does not speak for it.

        Raises:
            ReleaseRefused: It does not.
        """
        release = self._control.release()
        if step.percent > traffic_percent(release, step.view, step.version):
            refuse_diff(self._control, step.view, primary_of(release, step.view), step.version)

    def _deploy(self, step: Deploy, entry_id: str) -> None:
        version = self._control.deploy(step.deployment)
        self._store.create(version.table)
        table = version.table
        self._control.record(
            new_entry(self._actor, "deploy", view=table.view, version=table.version, entry_id=entry_id)
        )
        if table.view not in self._control.release().primaries:
            # There is nothing better to show.
            serve_first([version], control=self._control, actor=self._actor)

    def _catch_up(self, version: Version) -> Generator[Advance, None, None]:
        """Wait until a version holds what its primary holds; say how long that takes."""
        table = version.table
        estimator = Estimator(table.group_count)
        goal = Goal(
            version, self._primary(table.view, other_than=table.version), store=self._store, open_log=self._open_log
        )
        with self._open_log(table.log) as log:
            while goal.behind():
                self._version(table.view, table.version)  # somebody may have aborted it
                report = self._runner.poll()
                self._refuse_failed(version, report)
                ends = log.ends()
                position = self._position(version, report)
                estimator.add(time.monotonic(), position, ends)
                total = sum(ends.values())
                done = max(0, min(sum(position.values()), total - 1))
                workers = [worker for worker in report.workers if worker.table == table.name] if report else []
                yield Advance(done, total, note=", ".join(not_at_work(workers)) or _remaining(estimator))
                self._pause(POLL_S)

    def _position(self, version: Version, report: RunReport | None) -> Mapping[int, int]:
        """Return how far a version is: as its workers say, who are ahead of what is committed."""
        position = position_of(version.table, self._store)
        for worker in report.workers if report else ():
            if worker.table == version.table.name:
                position |= {
                    partition: max(position.get(partition, 0), offset) for partition, offset in worker.positions.items()
                }
        return position

    def _compare(self, view: str, left: int, right: int) -> Generator[Advance, None, None]:
        versions = self._version(view, left), self._version(view, right)
        with self._open_log(versions[0].table.log) as log:
            comparison = diff_and_keep(
                *versions, store=self._store, control=self._control, log=log, load_code=self._load_code
            )
            yield from self._while_running(comparison)

    def _gate(self, step: Gate, record: PlanRecord, shares: Mapping[str, Shift]) -> Generator[Advance, None, None]:
        """Compare again; if the candidate is not fit, take its share back, and those given together with it.

        Raises:
            ReleaseRefused: It is not fit, or somebody has taken one of `shares` back, given as view -> its last one.
        """
        version = self._version(step.view, step.right)
        try:
            yield from self._serve_for(step.pause_s, version, record, shares)
            self._refuse_failed(version, self._runner.poll())
            yield from self._catch_up(version)
            yield from self._compare(step.view, step.left, step.right)
            objection = diff_objection(self._control, step.view, step.left, step.right)
        except WorkerFailed as error:
            objection = error.message
        if objection is not None:
            yield from self._take_back(shares)
            taken = "its share was" if len(shares) <= 1 else "the shares of all the plan's views were"
            raise ReleaseRefused(
                view=step.view,
                version=step.right,
                reason=f"does not pass: {objection}; {taken} taken back",
                next_step=f"compare again: kappa diff {step.view}; then go on: kappa apply {record.number} --promote; "
                f"or give it up: kappa abort {step.view} v{step.right}",
            )
        self._refuse_taken_back(record, shares)

    def _take_back(self, shares: Mapping[str, Shift]) -> Generator[Advance, None, None]:
        for view, share in shares.items():
            canary = self._control.release().canaries.get(view)
            if canary is not None and canary.version == share.version:
                yield from self._waiting(self._releasing.shift(view, {share.version: 0.0}, wait_s=0.0))

    def _serve_for(
        self, pause_s: float, version: Version, record: PlanRecord, shares: Mapping[str, Shift]
    ) -> Generator[Advance, None, None]:
        """Let time pass while a candidate serves its share.

        Raises:
            WorkerFailed: It fails meanwhile.
            ReleaseRefused: Somebody takes a share back meanwhile.
            PlanStale: Somebody begins another plan in place of this one meanwhile.
        """
        began = time.monotonic()
        while (served_s := time.monotonic() - began) < pause_s:
            self._refuse_failed(version, self._runner.poll())
            self._refuse_given_up(record.number)
            self._refuse_taken_back(record, shares)
            yield Advance(int(served_s), math.ceil(pause_s), unit="s")
            self._pause(POLL_S)

    def _refuse_taken_back(self, record: PlanRecord, shares: Mapping[str, Shift]) -> None:
        """Refuse to go on to larger shares if somebody has taken one back.

        Raises:
            ReleaseRefused: That is so.
        """
        release = self._control.release()
        for view, share in shares.items():
            if traffic_percent(release, view, share.version) < share.percent:
                raise ReleaseRefused(
                    view=view,
                    version=share.version,
                    reason=f"does not serve {share.percent:g} % of the keys any more: somebody has taken them back",
                    next_step=f"give them again, and go on: kappa apply {record.number} --promote; "
                    f"or give it up: kappa abort {view} v{share.version}",
                )

    def _while_running(self, work: Generator[Advance, None, T]) -> Generator[Advance, None, T]:
        """Follow work while the versions are looked after."""
        while True:
            try:
                advance = next(work)
            except StopIteration as finished:
                result: T = finished.value
                return result
            self._runner.poll()
            yield advance

    def _waiting(self, work: Generator[Advance, None, T]) -> Generator[Advance, None, T]:
        """Follow work that only waits, and let time pass."""
        result = yield from self._while_running(_paused(work, self._pause))
        return result

    def _version(self, view: str, number: int) -> Version:
        return live_version(self._control, view, number)

    def _primary(self, view: str, *, other_than: int) -> Version | None:
        number = self._control.release().primaries.get(view)
        return None if number in (None, other_than) else self._version(view, number)

    def _refuse_failed(self, version: Version, report: RunReport | None) -> None:
        for worker in report.workers if report else ():
            if worker.table == version.table.name and worker.state == "failed":
                table = version.table
                raise WorkerFailed(
                    f"{worker.name} failed: {worker.detail}",
                    next_step=f"mend the code and plan again, or give it up: kappa abort {table.view} v{table.version}",
                )


def _paused(work: Generator[Advance, None, T], pause: Callable[[float], None]) -> Generator[Advance, None, T]:
    while True:
        try:
            yield next(work)
        except StopIteration as finished:
            result: T = finished.value
            return result
        pause(POLL_S)


def _remaining(estimator: Estimator) -> str:
    estimate = estimator.estimate()
    if estimate is None:
        return ""
    rate = f"{estimate.replay_rate:,.0f} events/s"
    if estimate.seconds is None:
        return f"{rate}; never catches up while {estimate.arrival_rate:,.0f} events/s arrive"
    return f"{rate}, {duration_text(estimate.seconds)} to go"
