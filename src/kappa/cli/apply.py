"""`kappa apply`: carry out a plan."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack

import click

from kappa.app import App
from kappa.cli.output import Output, Progress
from kappa.cli.verb import verb
from kappa.control.applying import Applied, StepAdvance
from kappa.control.plan_records import changed_views, current_plan, plan_of, waiting_plans
from kappa.planning.plans import Plan
from kappa.planning.steps import Compare
from kappa.ports import PlanRecord, PlanState


@verb
@click.argument("number", metavar="[PLAN]", type=click.IntRange(min=1), required=False)
@click.option(
    "--promote", is_flag=True, help="Go on with the steps that readers see, if every diff meets expectations."
)
def apply(app: App, out: Output, *, number: int | None, promote: bool) -> None:
    """Carry out PLAN, by default the newest.

    New versions are deployed, replay the log beside what is served, and are compared with it. There it stops, before
    anything that readers would see: look at `kappa diff`, then go on with `kappa promote`, or give up with
    `kappa abort`. If nothing else runs the project (`kappa up`), this does while it works.

    It may be interrupted anywhere, and goes on where it was. A plan is refused if the project was changed by somebody
    else since it was made. The code is that of the time of planning: by its number, a plan is carried out even if the
    files have changed since.

    Examples:
      kappa apply
      kappa apply --promote
      kappa apply 3
    """
    record = current_plan(app.control, number)
    if number is None and record.steps_done == 0 and record.state is PlanState.PLANNED:
        app.refuse_changed_code(record)
    walk(app, out, record, promote=promote)


def walk(app: App, out: Output, record: PlanRecord, *, promote: bool) -> None:
    """Carry out a plan, show each step, and say what comes next."""
    if record.state is PlanState.APPLIED:
        applied = Applied(record.number, record.state, record.steps_done, record.steps_done)
        out.show(applied, lambda: out.line("\n".join(_idle_lines(record, waiting_plans(app.control)))))
        return
    with app.applying() as applying:
        applied = _follow(out, applying.walk(record, promote=promote))
    out.show(applied, lambda: out.line("\n".join(_next_lines(applied, plan_of(record)))))


def _idle_lines(record: PlanRecord, waiting: Sequence[PlanRecord]) -> Iterator[str]:
    yield f"plan {record.number} is applied already"
    for other in waiting:
        views = " and ".join(changed_views(plan_of(other)))
        yield f"plan {other.number} for {views} waits for its review: kappa apply {other.number} --promote"


def _follow(out: Output, steps: Generator[StepAdvance, None, Applied]) -> Applied:
    """Show each step while it is carried out, and return where the plan stands then."""
    progress: Progress | None = None
    unit = ""
    with ExitStack() as shown:
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                applied: Applied = finished.value
                return applied
            if step.complete:
                shown.close()
                progress = None
                out.note(f"{step.number or '':>3}  {step.text}: done")
                if step.found:
                    out.note(f"     {step.found}")
            elif step.advance is not None:
                if progress is None or step.advance.unit != unit:
                    shown.close()
                    unit = step.advance.unit
                    progress = shown.enter_context(out.progress(step.text, unit=unit))
                progress(step.advance.done, total=step.advance.total, note=step.advance.note)


def _next_lines(applied: Applied, plan: Plan) -> Iterator[str]:
    compared = {step.view for step in plan.steps if isinstance(step, Compare)}
    candidates = [each for each in plan.views if each.candidate is not None and each.primary is not None]
    if applied.waits_before is not None:
        yield f"plan {applied.plan} waits for your review before it would {applied.waits_before}"
        yield from (f"  look:    kappa diff {each.view}" for each in candidates if each.view in compared)
        yield "  go on:   kappa promote"
        yield from (f"  give up: kappa abort {each.view} v{each.candidate}" for each in candidates)
        return
    yield f"plan {applied.plan} is applied: all {applied.step_count} steps are done"
    if plan.strategy == "parallel":
        yield from (f"compare: kappa diff {each.view}" for each in candidates if each.view in compared)
    elif compared:
        yield "undo:    kappa rollback"
    for each in candidates:
        if each.view not in compared:
            yield f"look:    kappa get {each.view} KEY --version v{each.candidate}"
            yield f"then:    kappa promote {each.view} v{each.candidate} --force"
