"""`kappa get`: show the row of one key."""

from __future__ import annotations

import click

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import verb
from kappa.cli.version_number import VERSION


@verb
@click.argument("view")
@click.argument("key", nargs=-1, required=True)
@click.option("--version", metavar="vN", type=VERSION, help="Read this version, whichever one serves the key.")
def get(app: App, out: Output, *, view: str, key: tuple[str, ...], version: int | None) -> None:
    """Show the row of KEY in VIEW: each column, and the last event that is folded into it.

    A key of several columns is given as several words, in the view's order. It is read from the version that serves
    it, which while a candidate has a share of the keys is one of two. Exit code 1 if there is no such row.

    Examples:
      kappa get user_profile ana
      kappa get carrier_month UA 3 --json
      kappa get carrier UA --version v2
    """
    row = app.row(view, key, version=version)

    def text() -> None:
        width = max(len(name) for name in row.columns)
        for name, value in row.columns.items():
            out.line(f"{name:{width}}  {printable(value)}")
        canary = " (canary)" if row.canary else ""
        out.line(
            f"\n{row.view} v{row.version}{canary}, true at partition {row.partition}, offset {row.offset}", style="dim"
        )

    out.show(row, text)
