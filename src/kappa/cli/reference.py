"""The reference of the command line, made of what `--help` says: `python -m kappa.cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from kappa.cli import VERBS, cli

_COLUMNS = 100
_INTRODUCTION = """\
# The command line

This is what `kappa VERB --help` says. Every verb takes `--json`; results go to standard output, errors and progress to
standard error. Exit codes: 0 done, 1 an error, 2 a wrong command line, 130 interrupted.

An error says what happened, where, and what to do next. `KAPPA_TRACEBACK=1` adds the traceback of an unexpected one.
Colours are left out where `NO_COLOR` is set or the output is no terminal.
"""


def reference() -> str:
    """Return the whole reference in Markdown."""
    context = _context(cli, "kappa", None)
    parts = [_INTRODUCTION, *_section(cli, context, heading="## kappa")]
    for name in VERBS:
        verb = cli.get_command(context, name)
        assert verb is not None, name
        own = _context(verb, name, context)
        parts += _section(verb, own, heading=f"## kappa {name}")
        if isinstance(verb, click.Group):
            for inner in verb.list_commands(own):
                command = verb.commands[inner]
                parts += _section(command, _context(command, inner, own), heading=f"### kappa {name} {inner}")
    return "\n".join(parts)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(command, parent=parent, info_name=name, terminal_width=_COLUMNS, help_option_names=["--help"])


def _section(command: click.Command, context: click.Context, *, heading: str) -> Iterator[str]:
    yield f"{heading}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
