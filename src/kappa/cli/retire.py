"""`kappa retire`: stop a version, or a whole view, that is not needed any more."""

from __future__ import annotations

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb
from kappa.cli.version_number import VERSION
from kappa.control.releasing import Stopped


@verb
@click.argument("view")
@click.argument("version", metavar="[vN]", type=VERSION, required=False)
@click.option("--all", "all_", is_flag=True, help="The whole view, which the project's code does not have any more.")
def retire(app: App, out: Output, *, view: str, version: int | None, all_: bool) -> None:
    """Stop version N of VIEW for good: a candidate, or the former primary, which a rollback would have returned to.

    With --all, stop every version of a view that is gone from the code; readers do not find it any more.

    The rows go after a grace period: kappa janitor.

    Examples:
      kappa retire carrier v1
      kappa retire old_view --all
    """
    if all_ == (version is not None):
        raise click.UsageError("expected either a version, or --all: kappa retire carrier v1")
    if version is None:
        done = app.releasing.retire_view(view, defined=view in app.project.views)
    else:
        done = app.releasing.retire(view, version)
    out.show(done, lambda: _show(out, done, whole=version is None))


def _show(out: Output, done: Stopped, *, whole: bool) -> None:
    names = ", ".join(f"v{version}" for version in done.versions)
    if not done.versions:
        out.line(f"nothing to do: it was stopped before. See: kappa versions {done.view}")
        return
    out.line(f"{done.view} {names} is retired" + (": the view is served no longer" if whole else ""))
    if done.former and not whole:
        out.line(f"there is nothing to roll {done.view} back to any more")
    out.line("next:  the rows go after a grace period: kappa janitor --dry-run")
