"""`kappa init`: start a project."""

from __future__ import annotations

from pathlib import Path

import click

from kappa.cli.output import Output
from kappa.cli.verb import Place, free_verb
from kappa.control.starter import write_starter

_COMMANDS = ("kappa ingest events.ndjson", "kappa run --until-caught-up", "kappa get user_profile ana")


@free_verb
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=".")
def init(place: Place, out: Output, *, folder: Path) -> None:
    """Start a project in DIR (by default here): two events, a view, sample data and a test.

    Nothing is overwritten: if one of the files is there already, none is written.

    Example:
      kappa init shop && cd shop
    """
    del place
    files = write_starter(folder)

    def text() -> None:
        for file in files:
            out.line(f"wrote  {file}")
        out.line("\nNow type:")
        for command in _COMMANDS if folder.samefile(Path.cwd()) else (f"cd {folder}", *_COMMANDS):
            out.line(f"  {command}")

    out.show({"files": [str(file) for file in files], "next": _COMMANDS}, text)
