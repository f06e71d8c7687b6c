"""`kappa why`: show the events that made a row."""

from __future__ import annotations

from contextlib import ExitStack

import click

from kappa.app import App
from kappa.cli.diff import shown
from kappa.cli.output import Output, printable
from kappa.cli.verb import json_lines, verb
from kappa.cli.version_number import VERSION
from kappa.control.advance import Advance
from kappa.control.explaining import Happening, Outcome


@verb
@click.argument("view")
@click.argument("key", nargs=-1, required=True)
@click.option("--version", type=VERSION, help="Tell it of this version. Default: the primary.")
@click.option("--last", type=click.IntRange(1), help="Show only so many of the last events.")
@json_lines
def why(app: App, out: Output, *, view: str, key: tuple[str, ...], version: int | None, last: int | None) -> None:
    """Show the events of KEY that VIEW folds, and which columns of its row each of them changed.

    The version's own code folds them again, from the log's start. Events that it set aside are shown with the reason.
    At the end the row is compared with the stored one: exit code 1 if they differ, unless the version started from
    migrated rows.

    A key of several columns is given as several words, in the view's order.

    Examples:
      kappa why user_profile ana
      kappa why carrier_month UA 3 --last 5
      kappa why carrier UA --version v2 --json
    """
    differs = False
    with ExitStack() as shown_progress:
        # Events that are shown as they come are progress enough.
        progress = None if last is None else shown_progress.enter_context(out.progress("reading", unit="records"))
        for told in app.why(view, key, version=version, last=last):
            match told:
                case Advance():
                    if progress is not None:
                        progress(told.done, total=told.total, note=told.note)
                case Happening():
                    shown_progress.close()
                    out.record(told, _event_text(told))
                case Outcome():
                    shown_progress.close()
                    out.record(told, _outcome_text(told))
                    differs = not told.agrees and told.exact
    if differs:
        raise click.exceptions.Exit(1)


def _event_text(told: Happening) -> str:
    lines = [
        f"{told.number:>4}  {told.partition}:{told.offset}  {told.time:%Y-%m-%dT%H:%M:%SZ}  {printable(told.event)}"
    ]
    if told.reason:
        lines.append(f"      set aside: {printable(told.reason)}")
    elif not told.changed:
        lines.append("      changes no column")
    elif told.created:
        lines.append(
            f"      a new row: {', '.join(f'{name} {shown(after)}' for name, (_, after) in told.changed.items())}"
        )
    else:
        changes = (f"{name} {shown(before)} → {shown(after)}" for name, (before, after) in told.changed.items())
        lines.append(f"      {', '.join(changes)}")
    return "\n".join(lines)


def _outcome_text(told: Outcome) -> str:
    key = " ".join(printable(part) for part in told.key)
    counted = [f"{told.events:,} events"]
    if told.dead_letters:
        counted.append(f"{told.dead_letters:,} of them set aside")
    if told.passed_over:
        counted.append(f"{told.passed_over:,} more of types that the view does not fold")
    verdict = "equals the stored row" if told.agrees else "DIFFERS FROM THE STORED ROW"
    lines = [f"\n{told.view} v{told.version} {key}: {', '.join(counted)}; what they make {verdict}"]
    if not told.agrees:
        lines += [f"  told:   {_row(told.told)}", f"  stored: {_row(told.stored)}"]
    if told.note:
        lines.append(told.note)
    return "\n".join(lines)


def _row(values: object) -> str:
    return "no row" if values is None else printable(values)
