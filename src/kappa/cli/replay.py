"""`kappa replay`: let a view's new code count for a range of time only, and the former code for the rest."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.plan import show_plan, show_with_next
from kappa.cli.verb import verb
from kappa.control.ranges import TimeRange
from kappa.errors import InputError


@verb
@click.argument("view", metavar="VIEW")
@click.option("--from", "start", metavar="T", required=True, help="Where the range starts; included.")
@click.option("--to", "end", metavar="T", help="Where it ends; not included. Default: it is open.")
@click.option("--plan-only", is_flag=True, help="Make the plan and show it; kappa apply carries it out.")
def replay(app: App, out: Output, *, view: str, start: str, end: str | None, plan_only: bool) -> None:
    """Make a version of VIEW in which events between --from and --to count as its changed code sees them.

    All other events count as the version that is served sees them. T is event time: a date or a date with time in ISO
    8601, in UTC unless it names a zone. Rows are corrected where that is possible, or folded again; what is affected is
    said first. The new version is compared like any other, and this stops before readers see it: go on with `kappa
    diff` and `kappa promote`.

    Examples:
      kappa replay carrier --from 2013-07-01 --to 2013-08-01
      kappa replay carrier --from 2013-07-01T22:00+02:00 --to 2013-07-02 --plan-only
    """
    wanted = TimeRange(parse_time(start, "--from"), None if end is None else parse_time(end, "--to"))
    record, made = app.planner.plan_range(view, wanted)
    if plan_only or not made.steps:
        out.show(made, lambda: show_with_next(out, record, made))
        if made.refused:
            raise click.exceptions.Exit(1)
        return
    from kappa.cli.apply import walk  # noqa: PLC0415 - not needed to plan

    if not out.as_json:
        show_plan(out, record, made)
        out.line()
    walk(app, out, record, promote=False)


def parse_time(text: str, option: str) -> datetime:
    """Read a point in time.

    Raises:
        InputError: It is none.

    >>> parse_time("2013-07-01", "--from").isoformat()
    '2013-07-01T00:00:00+00:00'
    >>> parse_time("2013-07-01T22:00+02:00", "--from").isoformat()
    '2013-07-01T20:00:00+00:00'
    """
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"expected a date or a time in ISO 8601 after {option}, got '{text}'",
            next_step=f"for example: {option} 2013-07-01, or {option} 2013-07-01T22:00+02:00; without a zone it is UTC",
        ) from error
