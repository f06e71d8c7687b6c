"""`kappa promote`: make candidates the primaries of their views."""

from __future__ import annotations

from collections.abc import Iterator

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb
from kappa.cli.version_number import version_number
from kappa.cli.waiting import wait_for
from kappa.control.releasing import Promotion

_WAIT_S = 30.0


@verb
@click.argument("words", metavar="[VIEW vN]...", nargs=-1)
@click.option("--force", is_flag=True, help="Whatever the diff says, and caught up or not: values may jump.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=_WAIT_S, show_default=True, help="For catching up, s."
)
def promote(app: App, out: Output, *, words: tuple[str, ...], force: bool, wait_s: float) -> None:
    """Make version N the primary of VIEW. Several views change at the same moment. Without a view, finish the plan that
    waits for a review.

    The version has to have caught up with the primary, and `kappa diff` has to have compared all of their rows, found
    every expectation met, and no event that only the version sets aside. --force overrules both, and the history says
    so.

    The former primary stays warm, so that `kappa rollback` takes no time; the one before it is retired.

    Examples:
      kappa promote
      kappa promote carrier v2
      kappa promote carrier v2 route v3
    """
    if not words:
        from kappa.cli.apply import walk  # noqa: PLC0415 - what one version needs is less
        from kappa.control.plan_records import reviewed_plan  # noqa: PLC0415

        if force:
            raise click.UsageError("--force is for single versions: kappa promote VIEW vN --force")
        walk(app, out, reviewed_plan(app.control), promote=True)
        return
    promotion = wait_for(
        app.releasing.promote(_versions(words), force=force, wait_s=wait_s), out, f"catching up {' '.join(words)}"
    )
    out.show(promotion, lambda: out.line("\n".join(_lines(promotion))))


def _versions(words: tuple[str, ...]) -> dict[str, int]:
    versions: dict[str, int] = {}
    if len(words) % 2:
        raise click.UsageError("expected a view and a version, or several such pairs: kappa promote carrier v2")
    for view, text in zip(words[::2], words[1::2], strict=True):
        if view in versions:
            raise click.UsageError(f"'{view}' is named twice")
        versions[view] = version_number(text)
    return versions


def _lines(promotion: Promotion) -> Iterator[str]:
    for view, version in promotion.already.items():
        yield f"{view} v{version} is primary already"
    for objection in promotion.forced:
        yield f"forced: {objection}"
    for view, version in promotion.promoted.items():
        yield f"{view} is served from v{version} now"
    for view, version in promotion.retired.items():
        yield f"{view} v{version}, which was kept for a rollback until now, is retired"
    if promotion.formers:
        back = ", ".join(f"{view} v{version}" for view, version in promotion.formers.items())
        yield f"undo:  kappa rollback {' '.join(promotion.formers)}, which brings {back} back"
