"""`kappa rollback`: go back to the versions that were primary before."""

from __future__ import annotations

from collections.abc import Iterator

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb
from kappa.control.releasing import Rollback


@verb
@click.argument("views", metavar="[VIEW]...", nargs=-1)
@click.option("--force", is_flag=True, help="Even if rows go back in time, because the former version lags.")
def rollback(app: App, out: Output, *, views: tuple[str, ...], force: bool) -> None:
    """Make the former primary of each VIEW primary again; by default, undo the last promotion of all its views.

    It takes no time: the former primary was kept warm. If it has not folded all that its successor had when it took
    over, or stands still since, rows would go back in time, and it is refused unless forced. A canary of the view ends.

    The version that is left stays a candidate, and can be promoted again.

    Examples:
      kappa rollback
      kappa rollback carrier
    """
    done = app.releasing.rollback(views, force=force)
    out.show(done, lambda: out.line("\n".join(_lines(done))))


def _lines(done: Rollback) -> Iterator[str]:
    for view, version in done.restored.items():
        yield f"{view} is served from v{version} again"
        if events := done.events_back.get(view):
            yield f"  it has yet to fold up to {events:,} events that readers have seen already"
    again = " ".join(f"{view} v{version}" for view, version in done.left.items())
    yield f"next:  promote again: kappa promote {again}"
    for view, version in done.left.items():
        yield f"       give up:       kappa abort {view} v{version}"
