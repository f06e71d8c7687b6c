"""`kappa rollback`: go back to the versions that were primary before."""

from __future__ import annotations

from collections.abc import Iterator

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb
from kappa.cli.waiting import wait_for
from kappa.control.releasing import Rollback

_WAIT_S = 10.0


@verb
@click.argument("views", metavar="[VIEW]...", nargs=-1)
@click.option("--force", is_flag=True, help="Even if rows go back in time, because the former version lags.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=_WAIT_S, show_default=True, help="For catching up, s."
)
def rollback(app: App, out: Output, *, views: tuple[str, ...], force: bool, wait_s: float) -> None:
    """Make the former primary of each VIEW primary again; by default, undo the last promotion of all its views.

    It takes no time: the former primary was kept warm. If it has not folded all that its successor had when it took
    over, or lacks events that are older than a minute, it gets some time to do so; then it is refused unless forced,
    for rows would go back in time. A canary of the view ends.

    The version that is left stays a candidate, and can be promoted again.

    Examples:
      kappa rollback
      kappa rollback carrier
    """
    done = wait_for(app.releasing.rollback(views, force=force, wait_s=wait_s), out, "catching up")
    out.show(done, lambda: out.line("\n".join(_lines(done))))


def _lines(done: Rollback) -> Iterator[str]:
    for view, version in done.restored.items():
        yield f"{view} is served from v{version} again"
        if events := done.events_back.get(view):
            yield f"  it has yet to fold up to {events:,} events that readers have seen already"
    again = " ".join(f"{view} v{version}" for view, version in done.left.items())
    yield f"next:  promote again: kappa promote {again}{' --force' if done.uncompared else ''}"
    for view, version in done.left.items():
        yield f"       give up:       kappa abort {view} v{version}"
