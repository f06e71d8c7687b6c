"""`kappa stack`: start and stop Kafka, PostgreSQL, a schema registry, S3 and Flink on this machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from kappa.cli.doctor import show_findings
from kappa.cli.output import Output, printable
from kappa.cli.verb import Place, free_verb
from kappa.config import find_project
from kappa.errors import ProjectError
from kappa.stack import TASK_MANAGERS, PartStatus, Stack
from kappa.stack.doctor import check_stack
from kappa.stack.software import install as install_software
from kappa.stack.tools import pyflink_folder, pyflink_missing

FOLDER_VARIABLE = "KAPPA_STACK_FOLDER"
IN_PROJECT = ".kappa-stack"
_STYLES = {"ready": "green", "not-answering": "yellow", "stopped": "red"}
_LINES = 40

_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=FOLDER_VARIABLE,
    show_envvar=True,
    help="The stack's folder. Default: .kappa-stack in the project, or kappa-stack in ~/.local/state without one.",
)


@click.group()
def stack() -> None:
    """Start and stop Kafka, PostgreSQL, a schema registry, S3 and Flink on this machine, without containers.

    A stack is a folder: its processes run on when the terminal is closed, and keep their data and ports from one start
    to the next. It is for development and tests, not for production: it has one machine and one disk to lose. What it
    runs is fetched once, by Maven and Go, into ~/.cache/kappa (or KAPPA_CACHE).
    """


@free_verb
@click.option("--small", is_flag=True, help="One broker instead of three; for a new stack only.")
@click.option(
    "--taskmanagers",
    type=click.IntRange(0, 100),
    help="So many of Flink's, each for one subtask; 0: no Flink. Default: as it is; in a new stack 2 if the extra"
    " `flink` is installed.",
)
@_folder
def up(place: Place, out: Output, *, small: bool, taskmanagers: int | None, folder: Path | None) -> None:
    """Start what does not run, and wait until every part answers at its own port.

    Run it again at any time: what runs is left alone, what died is started again. The first time, software is fetched
    and built, which takes some minutes; later it takes well under a minute.

    Examples:
      kappa stack up
      kappa stack up --small --taskmanagers 0
    """
    stack = _open(place, folder, out, small=small or None, task_managers=taskmanagers)
    if taskmanagers is None and stack.is_new:
        if pyflink_folder() is None:
            out.note(f"without Flink: {pyflink_missing().message}")
        else:
            stack = _open(place, folder, out, small=small or None, task_managers=TASK_MANAGERS)
    _show_parts(out, stack.up())
    out.note(f'to use it from here: eval "$(kappa stack env{_folder_option(folder)})"')


@free_verb
@_folder
def status(place: Place, out: Output, *, folder: Path | None) -> None:
    """Ask each part whether it answers. Exit code 1 if one does not.

    Example:
      kappa stack status --json
    """
    parts = _open(place, folder, out).status()
    _show_parts(out, parts)
    if any(part.state != "ready" for part in parts):
        raise click.exceptions.Exit(1)


@free_verb
@_folder
def down(place: Place, out: Output, *, folder: Path | None) -> None:
    """Stop what `kappa stack up` started here, and nothing else. What the parts have stored stays.

    To forget that too, delete the folder afterwards.

    Example:
      kappa stack down
    """
    stopped = _open(place, folder, out).down()
    out.show({"stopped": stopped}, lambda: out.line(f"stopped  {', '.join(stopped) or 'nothing: nothing was running'}"))


@free_verb
@click.argument("part", required=False)
@click.option("-n", "lines", type=click.IntRange(1), default=_LINES, show_default=True, help="So many lines of each.")
@_folder
def logs(place: Place, out: Output, *, part: str | None, lines: int, folder: Path | None) -> None:
    """Show what PART, or every part, has said last, and where the whole of it is.

    Example:
      kappa stack logs kafka-1 -n 100
    """
    stack = _open(place, folder, out)
    found = {
        each: {"file": str(stack.log_file(each)), "lines": stack.log_lines(each, lines_max=lines)}
        for each in ([part] if part else stack.parts)
    }

    def text() -> None:
        for each in found.values():
            out.line(f"== {each['file']}", style="bold")
            for line in each["lines"]:
                out.line(printable(line))

    out.show(found, text)


@free_verb
@_folder
def doctor(place: Place, out: Output, *, folder: Path | None) -> None:
    """Check whether this machine can run a stack, and say what to repair. Nothing is changed.

    Exit code 1 if a check fails; warnings do not count.

    Example:
      kappa stack doctor
    """
    show_findings(out, tuple(check_stack(_open(place, folder, out).folder, os.environ)))


@free_verb
@_folder
def env(place: Place, out: Output, *, folder: Path | None) -> None:
    """Print the variables that point clients at this stack, for a shell.

    They are kappa's own settings, so that every command of a project works on the stack, and those that clients read by
    themselves: psql and other programs for PostgreSQL, the AWS tools, `flink`, and whatever asks for
    KAFKA_BOOTSTRAP_SERVERS or SCHEMA_REGISTRY_URL. Passwords and keys stay in files, which the variables name. Which
    engine a project has is for its kappa.toml to say.

    Example:
      eval "$(kappa stack env)"
    """
    variables = _open(place, folder, out).client_environment()

    def text() -> None:
        for name, value in variables.items():
            out.line(f"export {name}={shlex.quote(value)}")

    out.show(variables, text)


@free_verb
def install(place: Place, out: Output) -> None:
    """Fetch and build what a stack runs, without starting it: for images, and before going offline.

    Example:
      kappa stack install
    """
    del place
    software = install_software(os.environ, say=out.note, with_flink=pyflink_folder() is not None)
    installed = {"kafka": software.kafka, "registry": software.registry, "gateway": software.gateway}
    if software.flink is not None:
        installed["flink_bridge"] = software.flink.bridge
    out.show(
        {name: str(path) for name, path in installed.items()},
        lambda: out.line(f"installed  {', '.join(sorted({str(path.parent) for path in installed.values()}))}"),
    )


def _open(
    place: Place, folder: Path | None, out: Output, *, small: bool | None = None, task_managers: int | None = None
) -> Stack:
    chosen = folder if folder is not None else _default_folder(place)
    return Stack(chosen, small=small, task_managers=task_managers, say=out.note)


def _default_folder(place: Place) -> Path:
    try:
        return (place.project or find_project(Path.cwd())) / IN_PROJECT
    except ProjectError:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(state) / "kappa-stack"


def _folder_option(folder: Path | None) -> str:
    return "" if folder is None or FOLDER_VARIABLE in os.environ else f" --folder {shlex.quote(str(folder))}"


def _show_parts(out: Output, parts: Sequence[PartStatus]) -> None:
    def text() -> None:
        for part in parts:
            out.line(f"{part.name:14} {part.state:15} {part.address}", style=_STYLES[part.state])

    out.show(parts, text)


for command in (up, status, down, logs, env, doctor, install):
    stack.add_command(command)
