"""`kappa doctor`: check this machine and project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import Place, free_verb
from kappa.control.doctor import Finding, Verdict, check_machine, finding_of

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@free_verb
def doctor(place: Place, out: Output) -> None:
    """Check this machine and project, and say what to repair. Nothing is changed.

    Exit code 1 if a check fails; warnings do not count.

    Example:
      kappa doctor --json
    """
    show_findings(out, tuple(_findings(place)))


def show_findings(out: Output, findings: Sequence[Finding]) -> None:
    """Show findings; exit code 1 if one is a failure."""

    def text() -> None:
        for each in findings:
            out.line(f"{each.verdict:4}  {each.check}: {printable(each.found)}", style=_STYLES[each.verdict])
            if each.next_step:
                out.line(f"      next: {printable(each.next_step)}")

    out.show(findings, text)
    if any(each.verdict is Verdict.FAIL for each in findings):
        raise click.exceptions.Exit(1)


def _findings(place: Place) -> Iterator[Finding]:
    yield from check_machine()
    finding = finding_of("settings", lambda: str(place.settings().file))
    yield finding
    if finding.verdict is Verdict.OK:
        with App(place.settings()) as app:
            yield from app.findings()
