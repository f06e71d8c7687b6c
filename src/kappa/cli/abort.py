"""`kappa abort`: give a candidate up."""

from __future__ import annotations

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb
from kappa.cli.version_number import VERSION


@verb
@click.argument("view")
@click.argument("version", metavar="vN", type=VERSION)
def abort(app: App, out: Output, *, view: str, version: int) -> None:
    """Give up version N of VIEW, a candidate: its share of the keys is taken back, and it stops for good.

    Nothing changes for readers of the primary. The rows go after a grace period: kappa janitor.

    Example:
      kappa abort carrier v2
    """
    done = app.releasing.abort(view, version)

    def text() -> None:
        out.line(f"{view} v{version} is aborted" if done.versions else f"{view} v{version} was stopped before")
        out.line("next:  mend the code, then: kappa plan")

    out.show(done, text)
