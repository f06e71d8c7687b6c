"""`kappa get`: show the row of one key."""

from __future__ import annotations

import click

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import verb


@verb
@click.argument("view")
@click.argument("key", nargs=-1, required=True)
def get(app: App, out: Output, *, view: str, key: tuple[str, ...]) -> None:
    """Show the row of KEY in VIEW: each column, and the last event that is folded into it.

    A key of several columns is given as several words, in the view's order. Exit code 1 if there is no such row.

    Examples:
      kappa get user_profile ana
      kappa get carrier_month UA 3 --json
    """
    row = app.row(view, key)

    def text() -> None:
        width = max(len(name) for name in row.columns)
        for name, value in row.columns.items():
            out.line(f"{name:{width}}  {printable(value)}")
        out.line(f"\n{row.view} v{row.version}, true at partition {row.partition}, offset {row.offset}", style="dim")

    out.show(row, text)
