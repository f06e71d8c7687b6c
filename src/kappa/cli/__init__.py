"""The command line: `main` runs a verb and turns what stops it into a message and an exit code.

Exit codes: 0 done, 1 an error (said on standard error), 2 a wrong command line, 130 interrupted. A verb's module is
imported when the verb is used, so that `kappa --help` stays fast.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from kappa.errors import KappaError

# Verb -> what `kappa --help` says of it; a verb's module bears its name.
VERBS = {
    "demo": "Show the whole road on real data: a bug in a view is mended while events keep arriving.",
    "init": "Start a project: a view, its events, sample data and a test.",
    "check": "Check the project's code: declarations, and whether views are deterministic.",
    "schema": "Register and check the schemas of event types.",
    "ingest": "Append events from a file or standard input to the log.",
    "up": "Keep the views up to date until Ctrl-C.",
    "run": "Fold the log into the views, to its end or for good.",
    "plan": "Compare the code with what is deployed, and plan what to do about it.",
    "apply": "Carry out a plan: deploy, replay beside what is served, compare; then wait for a review.",
    "replay": "Let a view's changed code count for a range of time only.",
    "versions": "List the versions of views: state, position, traffic, what they hold.",
    "diff": "Compare two versions of a view, row by row at one position.",
    "shift": "Serve a share of a view's keys from a candidate.",
    "promote": "Make candidates the primaries of their views, or finish the current plan.",
    "rollback": "Go back to the versions that were primary before.",
    "abort": "Give a candidate up.",
    "retire": "Stop a version, or a whole view, that is not needed any more.",
    "history": "Show what was done to versions, by whom and when.",
    "janitor": "Delete what nobody needs any more: old rows, code and plans.",
    "status": "Show what the log holds and how far each view has come.",
    "metrics": "Give the numbers of `kappa status` to Prometheus.",
    "get": "Show the row of one key.",
    "why": "Show the events that made a row, and what each of them changed.",
    "query": "Answer an SQL query over the views.",
    "tail": "Show the last events of the log.",
    "dlq": "List, show and retry what was set aside.",
    "stack": "Start and stop Kafka, PostgreSQL, a schema registry and S3 on this machine.",
    "postgres": "Show what a project in PostgreSQL needs there.",
    "doctor": "Check this machine and project, and say what to repair.",
    "version": "Show the versions of kappa and what it runs on.",
}
_FAILED, _WRONG_USAGE, _INTERRUPTED = 1, 2, 130


class _Verbs(click.Group):
    """The verbs, each loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"kappa.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--project",
    type=click.Path(file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest folder with a kappa.toml, from here upwards.",
)
@click.pass_context
def cli(context: click.Context, project: Path | None) -> None:
    """Build on one event log: typed events, keyed views, and safe changes to both.

    A project is a folder with a kappa.toml. `kappa init` starts one; `kappa VERB --help` explains each verb.
    """
    from kappa.cli.verb import Place  # noqa: PLC0415 - not needed to show help

    context.obj = Place(project)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line (this process's by default) and exit."""
    sys.exit(execute(arguments))


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    try:
        code = cli.main(args=arguments, prog_name="kappa", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return _WRONG_USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe has seen enough; nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except Exception as error:  # noqa: BLE001 - the last resort: people see a message, not a traceback
        return _explain(error)
    # Click returns the code of `Exit`, and otherwise what the verb returned: nothing.
    return code or 0


def _explain(error: Exception) -> int:
    from kappa.cli.output import show_error, show_traceback  # noqa: PLC0415 - not needed to show help

    if show_traceback():
        traceback.print_exception(error)
    if not isinstance(error, KappaError):
        error = KappaError(
            f"kappa failed unexpectedly: {type(error).__name__}: {error}",
            next_step="a mistake in kappa or in the project's code; KAPPA_TRACEBACK=1 kappa ... shows where",
        )
    show_error(error)
    return _FAILED
