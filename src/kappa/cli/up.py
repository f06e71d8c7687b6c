"""`kappa up`: keep the project's views up to date until Ctrl-C."""

from __future__ import annotations

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.run import follow
from kappa.cli.verb import json_lines, verb


@verb
@json_lines
def up(app: App, out: Output) -> None:
    """Keep the project's views up to date: fold what is in the log, then what comes in, until Ctrl-C.

    Views that are not deployed yet are deployed. Those that are run the code that they were deployed with, whatever the
    project's folder holds by now: `kappa plan` shows what a changed view would do. Candidates run beside the versions
    that people read, and start and stop as other commands deploy and retire them. Only one process at a time can run a
    project.

    Ctrl-C is the way to end it (exit code 0): what is folded is committed. With Flink as the engine, jobs go on.

    Example:
      kappa up
    """
    try:
        follow(app, out, until_caught_up=False)
    except KeyboardInterrupt:
        if app.settings.engine.kind == "flink":
            out.note("stopped; the jobs go on in the cluster, and the next `kappa up` takes them over")
        else:
            out.note("stopped; everything that was folded is committed")
