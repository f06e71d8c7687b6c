"""`kappa janitor`: delete what nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb
from kappa.control.janitor import Swept


@verb
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
def janitor(app: App, out: Output, *, dry_run: bool) -> None:
    """Delete the rows of retired versions, code that no version runs from, and old plans.

    They stay for a grace period (janitor.grace in kappa.toml) after they were last needed. What readers see, what a
    rollback returns to, what still runs and what a plan needs stays in any case. `kappa up` does this by itself, once
    an hour.

    Example:
      kappa janitor --dry-run
    """
    swept = app.janitor.run(datetime.now(UTC), dry_run=dry_run)
    grace = app.settings.janitor.grace
    out.show(swept, lambda: out.line("\n".join(_lines(swept, grace=grace, dry_run=dry_run))))


def _lines(swept: Swept, *, grace: str, dry_run: bool) -> Iterator[str]:
    if not swept:
        yield f"nothing to delete: all that is not needed any more is younger than {grace}"
        return
    verb_ = "would delete" if dry_run else "deleted"
    for table in swept.tables:
        yield f"{verb_} the rows of {table}"
    for bundle in swept.bundles:
        yield f"{verb_} bundle {bundle[:12]}"
    if swept.plans:
        yield f"{verb_} plan{'s' if len(swept.plans) > 1 else ''} {', '.join(map(str, swept.plans))}"
    yield f"{swept.freed_bytes / 1e6:,.1f} MB"
    if dry_run:
        yield "next:  kappa janitor"
