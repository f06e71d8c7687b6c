"""`kappa schema`: the schemas of the project's event types, and the registry that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import verb
from kappa.control.schemas import EventCheck, SchemaDiff, SchemaState

_committed = click.option(
    "--committed", is_flag=True, help="Compare with the files in registry.folder, whatever registry.url says: for CI."
)
_STATES = {
    SchemaState.NEW: "is not registered yet",
    SchemaState.UNCHANGED: "is registered as it is",
    SchemaState.COMPATIBLE: "has changed, and is compatible with all that is registered",
    SchemaState.INCOMPATIBLE: "is incompatible",
}


class Exported(msgspec.Struct, frozen=True):
    """How many schemas lie in which folder."""

    schemas: int
    folder: str


@click.group()
def schema() -> None:
    """Register and check the JSON Schemas of the project's event types.

    The registry is the one at registry.url, or else the files in registry.folder, which are committed with the code.
    """


@verb
def register(app: App, out: Output) -> None:
    """Register the schemas of all event types that are new or have changed.

    Refused, with nothing registered, if one of them is incompatible with what was registered before.

    Example:
      kappa schema register
    """
    checks = app.schemas().register(app.compatibility)
    out.show(checks, lambda: _show_registered(out, checks))


@verb
@_committed
def check(app: App, out: Output, *, committed: bool) -> None:
    """Check that all event types are compatible with what was registered for them.

    A newer version reads older ones through its upcasters. Within a version, whatever was written under a registered
    schema must be readable (backward), or the reverse (forward), or both: see registry.compatibility.

    Exit code 1 if one is incompatible, with the field and the rule that is broken.

    Examples:
      kappa schema check
      kappa schema check --committed
    """
    checks = app.schemas(committed=committed).check(app.compatibility)
    out.show(checks, lambda: _show_checks(out, checks))
    if any(each.state is SchemaState.INCOMPATIBLE for each in checks):
        raise click.exceptions.Exit(1)


@verb
def list_(app: App, out: Output) -> None:
    """List the schemas that are registered for this project.

    Example:
      kappa schema list
    """
    entries = list(app.schemas().entries())
    rows = [(each.subject, each.number, each.version, ", ".join(each.fields)) for each in entries]
    numbers = ("number", "version")
    out.show(entries, lambda: out.table(("subject", "number", "version", "fields"), rows, numbers=numbers))


@verb
@click.argument("event")
@_committed
def diff(app: App, out: Output, *, event: str, committed: bool) -> None:
    """Show how EVENT differs from the schema that was registered last, and whether that is compatible.

    Example:
      kappa schema diff OrderPlaced
    """
    found = app.schemas(committed=committed).diff(event, app.compatibility)
    out.show(found, lambda: _show_diff(out, found))


@verb
def export(app: App, out: Output) -> None:
    """Write the registered schemas into registry.folder, to be committed: CI then checks without a registry.

    Example:
      kappa schema export
    """
    exported = Exported(app.export_schemas(), str(app.settings.schemas_folder))
    out.show(exported, lambda: out.line(f"{exported.schemas:,} schemas in {exported.folder}"))


def _show_registered(out: Output, checks: Sequence[EventCheck]) -> None:
    registered = [each for each in checks if each.state is not SchemaState.UNCHANGED]
    for each in registered:
        out.line(f"registered {each.event} version {each.version}{_upcasts(each)}")
    if not registered:
        out.line("nothing to register: all event types are registered as they are")


def _show_checks(out: Output, checks: Sequence[EventCheck]) -> None:
    for each in checks:
        for line in _check_lines(each):
            out.line(printable(line))


def _check_lines(check: EventCheck) -> Iterator[str]:
    yield f"{check.event} {_STATES[check.state]}{_upcasts(check)}"
    yield from (f"  - {reason}" for reason in check.reasons)
    if check.remedy:
        yield f"  next: {check.remedy}"


def _upcasts(check: EventCheck) -> str:
    versions = ", ".join(str(version) for version in check.upcast_from)
    return f"; reads version {versions} through upcasters" if versions else ""


def _show_diff(out: Output, found: SchemaDiff) -> None:
    for line in found.fields:
        out.line(printable(line))
    for line in _check_lines(found.check):
        out.line(printable(line))


for command, name in ((register, "register"), (check, "check"), (list_, "list"), (diff, "diff"), (export, "export")):
    schema.add_command(command, name)
