"""What all verbs have in common: the project they work on, and `--json`.

A verb is a function of the project's `App`, an `Output` and its own arguments. It reads them, calls the app once and
shows the answer.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output
from kappa.config import Settings, find_project, load_settings

JSON_HELP = "Print one JSON document instead of text."
JSON_LINES_HELP = "Print one JSON document per line instead of text."


class Place(msgspec.Struct, frozen=True):
    """Where the command line was typed: the folder that `--project` names, or None to search upwards."""

    project: Path | None = None

    def settings(self) -> Settings:
        """Find the project and read its settings.

        Raises:
            ProjectError: There is no project here, or its settings are wrong.
        """
        root = self.project if self.project is not None else find_project(Path.cwd())
        return load_settings(root, os.environ)


def verb(function: Callable[..., None]) -> click.Command:
    """Make a verb of a function (app, out, **arguments) that needs a project."""

    @functools.wraps(function)
    def run(place: Place, out: Output, **arguments: Any) -> None:
        with App(place.settings()) as app:
            function(app, out, **arguments)

    return free_verb(run)


def free_verb(function: Callable[..., None]) -> click.Command:
    """Make a verb of a function (place, out, **arguments) that can do without a project."""

    def run(context: click.Context, /, as_json: bool, **arguments: Any) -> None:
        function(context.obj, Output(as_json=as_json), **arguments)

    functools.update_wrapper(run, function)
    command = click.command(click.pass_context(run))
    # Click fills paragraphs, except those that begin with this sign: examples keep their lines.
    command.help = re.sub(r"\n\n(Examples?:\n)", "\n\n\b\n\\1", inspect.cleandoc(command.help or ""))
    if not any(option.name == "as_json" for option in command.params):
        command.params.append(click.Option(["--json", "as_json"], is_flag=True, help=JSON_HELP))
    return command


json_lines = click.option("--json", "as_json", is_flag=True, help=JSON_LINES_HELP)
