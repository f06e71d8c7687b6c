"""`kappa history`: show what was done to versions, by whom and when."""

from __future__ import annotations

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb
from kappa.control.history import read_history

_LIMIT = 20


@verb
@click.argument("view", required=False)
@click.option("-n", "limit", type=click.IntRange(1), default=_LIMIT, show_default=True, help="Show the last so many.")
def history(app: App, out: Output, *, view: str | None, limit: int) -> None:
    """Show what was done to the project's versions, or to those of VIEW, by whom and when; the newest is last.

    Examples:
      kappa history
      kappa history carrier -n 5
    """
    entries = read_history(app.control, view=view, limit=limit)

    def text() -> None:
        if not entries:
            out.line("nothing was done yet: kappa up deploys the project's views")
            return
        rows = [
            (
                f"{entry.at:%Y-%m-%d %H:%M:%S}",
                entry.actor,
                entry.action,
                entry.view,
                f"v{entry.version}" if entry.version is not None else "",
                entry.detail,
            )
            for entry in entries
        ]
        out.table(("when (UTC)", "who", "what", "view", "version", ""), rows)

    out.show(entries, text)
