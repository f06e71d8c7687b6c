"""Check a project's code for what would make a replay give other rows. Declarations are checked where they are made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from kappa.control.project import Project
from kappa.errors import DefinitionError
from kappa.model.determinism import Finding, find_assignments, find_nondeterminism
from kappa.model.events import event_methods, event_spec
from kappa.model.views import View, view_spec


class CheckReport(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes:
        events, views: The names of what was checked.
        findings: By place, each once, even if several views call the same code.
    """

    events: tuple[str, ...]
    views: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings make rows wrong."""
        return sum(finding.severity == "error" for finding in self.findings)


def check_project(project: Project, root: Path) -> CheckReport:
    """Check all code that folds events of a project that lies in `root`."""
    findings = {finding for view in project.views.values() for finding in _view_findings(view, root)}
    for event in project.events.values():
        functions = [*event_spec(event).upcasters.values(), *event_methods(event)]
        findings.update(find_nondeterminism(functions, root, owner=event))
    return CheckReport(tuple(project.events), tuple(project.views), tuple(sorted(findings)))


def refuse_unsound(report: CheckReport) -> None:
    """Refuse to run code whose rows a replay would not give again.

    Raises:
        DefinitionError: With the first error found, and how many there are.
    """
    errors = [finding for finding in report.findings if finding.severity == "error"]
    for finding in errors[:1]:
        more = f"; {len(errors) - 1} more: kappa check" if len(errors) > 1 else ""
        raise DefinitionError(
            finding.what, where=f"{finding.file}:{finding.line}, in {finding.function}", next_step=finding.remedy + more
        )


def _view_findings(view: type[View], root: Path) -> Iterator[Finding]:
    spec = view_spec(view)
    handlers = [handler.function for handler in spec.handlers.values()]
    migrators = [migrator.function for migrator in spec.migrations.values()]
    yield from find_nondeterminism([*handlers, *migrators], root, owner=view)
    for function in handlers:
        yield from find_assignments(function, spec.folds)
