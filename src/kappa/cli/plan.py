"""`kappa plan`: compare the project's code with what is deployed, and say what `kappa apply` would do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import click

from kappa.app import App
from kappa.cli.output import Output, counted, printable
from kappa.cli.verb import verb
from kappa.errors import InputError
from kappa.model.durations import duration_us
from kappa.planning.catch_up import duration_text
from kappa.planning.changes import ChangeKind
from kappa.planning.jobs import describe_profile
from kappa.planning.plans import Estimate, Plan, Strategy, ViewPlan
from kappa.planning.steps import describe, released
from kappa.ports import PlanRecord

_STRATEGIES: dict[Strategy, str] = {
    "full": "replay, compare, promote",
    "range": "let the new code count in a range of time, compare, promote",
    "parallel": "replay and compare, nothing is promoted",
    "incremental": "replay, compare, promote in steps",
}
_KINDS = {
    ChangeKind.NEW: "is new",
    ChangeKind.UNCHANGED: "has not changed",
    ChangeKind.METADATA_ONLY: "needs nothing",
    ChangeKind.MIGRATE: "has changed: its rows are brought into the new shape",
    ChangeKind.REPLAY: "has changed: a new version is made",
    ChangeKind.REFUSED: "is refused",
    ChangeKind.GONE: "is gone from the code",
}


@verb
@click.argument("views", metavar="[VIEW]...", nargs=-1)
@click.option(
    "--strategy",
    type=click.Choice(["full", "parallel", "incremental"]),
    default="full",
    help="full: replay, compare, promote. parallel: the same without promoting. incremental: promote in steps.",
)
@click.option("--shares", default="1,10,50,100", help="Of an incremental plan: per cent of the keys, step by step.")
@click.option("--pause", metavar="TIME", help="Of an incremental plan: serve each share for so long, such as 10m.")
def plan(app: App, out: Output, *, views: tuple[str, ...], strategy: Strategy, shares: str, pause: str | None) -> None:
    """Compare the project's code with what is deployed, and make a plan for VIEWs, by default for all.

    It says for each view what has changed and what follows from that: nothing, a migration of its rows, or a replay of
    the log, with what that reads and how long it takes. Nothing is deployed: `kappa apply` carries the plan out and
    stops for a review before readers see anything. The code is copied now, so later edits do not change the plan.

    Exit code 1 if a view is refused, that is, if it cannot be changed safely; the plan then has no steps.

    Examples:
      kappa plan
      kappa plan carrier --strategy incremental --shares 5,50,100 --pause 10m
      kappa plan --strategy parallel
    """
    if pause is not None and strategy != "incremental":
        raise click.UsageError("--pause is for plans in steps: --strategy incremental")
    record, made = app.planner.plan(views, strategy=strategy, shares=_shares(shares), pause=_pause(pause))
    out.show(made, lambda: show_with_next(out, record, made))
    if made.refused:
        raise click.exceptions.Exit(1)


def show_with_next(out: Output, record: PlanRecord, made: Plan) -> None:
    """Show a plan, and which command comes next."""
    show_plan(out, record, made)
    if made.steps:
        out.line("\nnext: kappa apply")
    if any(released(step) for step in made.steps):
        out.line("then: kappa diff shows what readers would see changed, kappa promote lets them")


def show_plan(out: Output, record: PlanRecord, made: Plan) -> None:
    """Show a plan for people: what has changed, what it costs, and the steps."""
    out.line(f"plan {record.number}: {_STRATEGIES[made.strategy]}")
    for view in made.views:
        out.line()
        out.line("\n".join(printable(line) for line in _view_lines(view)))
    if made.warnings:
        out.line()
        out.line("\n".join(f"warning: {printable(warning)}" for warning in made.warnings))
    out.line()
    out.line("\n".join(_step_lines(made)))


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"expected numbers with commas between them in --shares, got '{text}'",
            next_step="for example: --shares 1,10,50,100",
        ) from error


def _pause(text: str | None) -> timedelta:
    try:
        return timedelta(microseconds=0 if text is None else duration_us(text))
    except ValueError as error:
        raise InputError(f"{error} after --pause", next_step="for example: --pause 10m") from error


def _view_lines(view: ViewPlan) -> Iterator[str]:
    versions = " -> ".join(f"v{number}" for number in (view.primary, view.candidate) if number is not None)
    yield f"{view.view}{f' {versions}' if versions else ''} {_KINDS[view.kind]}"
    yield from (f"  - {reason}" for reason in view.reasons)
    if view.estimate is not None:
        yield from _estimate_lines(view.estimate)
    for number, profile in enumerate(view.profiles):
        yield f"  {'then ' if number else ''}{describe_profile(profile)}"


def _estimate_lines(estimate: Estimate) -> Iterator[str]:
    yield (
        f"  reads {counted(estimate.events, exact=estimate.exact)} events ({estimate.size_bytes / 1e6:,.1f} MB) "
        f"at about {_round(estimate.replay_rate)} events/s"
        + (f", while about {_round(estimate.arrival_rate)} events/s arrive" if estimate.arrival_rate >= 1 else "")
    )
    if estimate.seconds is None:
        yield f"  never catches up at this rate{': ' if estimate.advice else ''}{estimate.advice}"
    else:
        yield f"  takes {duration_text(estimate.seconds)}{'; ' if estimate.advice else ''}{estimate.advice}"


def _round(rate: float) -> str:
    """Return a rate with two digits that count: more would promise too much.

    >>> _round(123_456.0), _round(0.25), _round(0.0)
    ('120,000', '0.25', '0')
    """
    return f"{float(f'{rate:.2g}'):,.10g}"


def _step_lines(made: Plan) -> Iterator[str]:
    if made.refused:
        others = [view.view for view in made.views if view.candidate is not None]
        yield f"no steps: {', '.join(view.view for view in made.refused)} cannot be changed like this"
        yield f"next: kappa plan {' '.join(others)}" if others else "next: mend what is said above, then kappa plan"
        return
    if not made.steps:
        yield "nothing to do: what is deployed is what the code says"
        return
    yield "steps"
    review = next((number for number, step in enumerate(made.steps) if released(step)), None)
    for number, step in enumerate(made.steps):
        if number == review:
            yield "       here kappa apply stops for your review"
        yield f"  {number + 1:>3}  {printable(describe(step))}"
