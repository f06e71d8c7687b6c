"""`kappa check`: check the project's code."""

from __future__ import annotations

import click

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import verb
from kappa.control.checking import CheckReport


@verb
def check(app: App, out: Output) -> None:
    """Check the project's code: declarations of events and views, and whether views are deterministic.

    A view must give the same rows whenever its log is replayed: a clock, randomness, I/O or state outside the row, in
    a handler or in anything it calls, is an error. Exit code 1 if there is one; warnings do not count.

    Example:
      kappa check
    """
    report = app.check()
    out.show(report, lambda: _show(out, report))
    if report.errors:
        raise click.exceptions.Exit(1)


def _show(out: Output, report: CheckReport) -> None:
    for finding in report.findings:
        out.line(f"{finding.severity}: {printable(finding.what)}", style="red" if finding.severity == "error" else None)
        out.line(f"where: {finding.file}:{finding.line}, in {finding.function}")
        out.line(f"next:  {printable(finding.remedy)}\n")
    warnings = len(report.findings) - report.errors
    out.line(
        f"{len(report.events)} event types, {len(report.views)} views: {report.errors} errors, {warnings} warnings"
    )
