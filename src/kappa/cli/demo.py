"""`kappa demo`: the whole road on real data, as the commands and the edits that a person would make."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import assert_never

import click
import msgspec

import kappa
from kappa.cli.output import Output
from kappa.cli.stack import FOLDER_VARIABLE, IN_PROJECT
from kappa.cli.story import EMBEDDED, ON_STACK, Background, Command, Edit, End, Scene, StackSettings, Story
from kappa.cli.verb import Place, free_verb
from kappa.errors import InputError, KappaError
from kappa.stack import Stack
from kappa.stack.tools import check_entrance, postgres_user

_STACK_NEEDS = """\
This needs Java 17, Maven, Go, PostgreSQL's programs and 5 GB of memory; `kappa stack doctor` checks. The first time,
software is fetched and built, 0.3 GB, which takes some minutes; the story itself takes about four on two cores."""
# How far the story has been told, in the project's folder.
_BOOKMARK = ".demo"
# A worker commits what it has before it ends.
_END_TIMEOUT_S = 30.0
_LOOK_S = 0.05


class Demonstration(msgspec.Struct, frozen=True):
    """What was done: the folder of the project, how long it took, and the commands."""

    folder: str
    seconds: float
    commands: tuple[str, ...]


@free_verb
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option("--stack", "on_stack", is_flag=True, help="On Kafka, Flink, PostgreSQL, a schema registry and S3.")
def demo(place: Place, out: Output, *, folder: Path | None, on_stack: bool) -> None:
    """Tell the whole story on the flights of 2013, in FOLDER (default: kappa-demo, or kappa-demo-stack).

    A log and three views; a bug in one of them; a new version that replays history beside the old one while events keep
    arriving; what would change, row by row; a canary, a promotion, a rollback; and a check against the data itself.

    Runs the commands that it shows. FOLDER is a project like any other: look into it, and change it. If it was
    interrupted, it goes on where it was.

    With --stack it brings up a stack of its own in FOLDER (see `kappa stack`), tells the story with half a year of
    flights and two views, and takes the stack down, also when it is interrupted.

    Examples:
      kappa demo
      kappa demo --stack
    """
    del place
    started = time.monotonic()
    story = ON_STACK if on_stack else EMBEDDED
    folder = folder or Path("kappa-demo-stack" if on_stack else "kappa-demo")
    if on_stack:
        _check_entrance(folder)
    _copy_project(folder, story)
    with ExitStack() as stage:
        if on_stack:
            out.note(_STACK_NEEDS)
            stage.callback(Stack(folder / IN_PROJECT).down)
        _Actor(folder, out, stage).act(story.scenes)
    done = Demonstration(
        str(folder),
        time.monotonic() - started,
        tuple(scene.line for scene in story.scenes if not isinstance(scene, Edit | End)),
    )
    out.show(done, lambda: out.line("\n".join(_look_around(done, story))))


class _Actor:
    """Acts the story in a folder, and keeps a bookmark there."""

    def __init__(self, folder: Path, out: Output, stage: ExitStack) -> None:
        """Act in `folder`; whatever runs in the background ends with `stage`."""
        self._folder, self._out, self._stage = folder, out, stage
        self._background: list[subprocess.Popen[bytes]] = []
        # The stack is the project's own, whatever stack is used elsewhere.
        self._environment = {name: value for name, value in os.environ.items() if name != FOLDER_VARIABLE}
        stage.callback(self._end)

    def act(self, story: tuple[Scene, ...]) -> None:
        """Act what is left of the story.

        Raises:
            KappaError: A command failed.
        """
        bookmark = self._folder / _BOOKMARK
        told = int(bookmark.read_text()) if bookmark.exists() else 0
        if told == len(story):
            return
        for number, scene in enumerate(story):
            if number < told:
                self._resume(scene)
                continue
            self._act(scene)
            bookmark.write_text(str(number + 1))

    def _resume(self, scene: Scene) -> None:
        """Start again what ran when the story was interrupted."""
        match scene:
            case Background():
                self._start(scene)
            case End():
                self._end()
            case StackSettings():
                self._read_settings()
            case Command(again=True):
                self._act(scene)
            case Command() | Edit():
                pass
            case _:
                assert_never(scene)

    def _act(self, scene: Scene) -> None:
        match scene:
            case Command():
                self._out.note(f"\n# {scene.why}\n$ {scene.line}")
                self._run(scene.line)
            case StackSettings():
                self._out.note(f"\n# {scene.why}\n$ {scene.line}")
                self._read_settings()
            case Background():
                self._out.note(f"\n# {scene.why}\n$ {scene.line} &")
                self._start(scene)
            case End():
                self._out.note(f"\n# {scene.why}")
                self._end()
            case Edit():
                self._out.note(f"\n# {scene.why}\n# In {scene.file}:")
                self._out.note("\n".join(_changed_lines(scene)))
                _edit(self._folder / scene.file, scene)
            case _:
                assert_never(scene)

    def _read_settings(self) -> None:
        self._environment |= Stack(self._folder / IN_PROJECT).client_environment()

    def _run(self, line: str) -> None:
        quiet = subprocess.DEVNULL if self._out.as_json else None
        done = subprocess.run(  # noqa: S603 - ours
            _command(line), cwd=self._folder, env=self._environment, check=False, stdout=quiet
        )
        self._refuse_dead()
        if done.returncode != 0:
            raise KappaError(
                f"the demonstration stopped at: {line}",
                next_step="mend what it says above, then run `kappa demo` again: it goes on from there",
            )

    def _start(self, scene: Background) -> None:
        program = shlex.split(scene.line)[1]
        with (self._folder / f"{program}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - ours
                _command(scene.line), cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )
        self._background.append(process)
        while scene.announced and not (self._folder / f"{program}.log").stat().st_size:
            self._refuse_dead()
            time.sleep(_LOOK_S)

    def _refuse_dead(self) -> None:
        for process in self._background:
            if process.poll():
                raise KappaError(
                    f"what ran in the background ended: {shlex.join(map(str, process.args[2:]))}",  # type: ignore[index]  # a list, as we gave it
                    next_step=f"look at the *.log files in {self._folder}, then run `kappa demo` again",
                )

    def _end(self) -> None:
        """End what runs in the background, the latest first."""
        while self._background:
            process = self._background.pop()
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    return [sys.executable, *(["-m", "kappa"] if program == "kappa" else []), *arguments]


def _changed_lines(edit: Edit) -> Iterator[str]:
    yield from (f"-   {line}" for line in edit.old.splitlines())
    yield from (f"+   {line}" for line in edit.new.splitlines())


def _edit(file: Path, edit: Edit) -> None:
    """Make an edit, unless it was made before.

    Raises:
        InputError: The file holds neither the old text nor the new one.
    """
    text = file.read_text(encoding="utf-8")
    if edit.old in text:
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    elif edit.new not in text:
        raise InputError(
            f"{file} was changed: the demonstration does not find what it would edit",
            next_step="begin anew in another folder: kappa demo DIR",
        )


def _look_around(done: Demonstration, story: Story) -> Iterator[str]:
    yield f"\nDone in {done.seconds:.0f} s{'' if story is ON_STACK else ', with no server'}. Look around:"
    if shutil.which("kappa") is None:
        yield f"  source {sys.prefix}/bin/activate"
    yield f"  cd {done.folder}"
    yield story.look_around


def _check_entrance(folder: Path) -> None:
    """Check that the stack's PostgreSQL may enter the folder.

    Raises:
        InputError: It may not.
    """
    try:
        if (user := postgres_user()) is not None:
            check_entrance(user, folder.resolve())
    except InputError as error:
        raise InputError(error.message, next_step="name another folder: kappa demo --stack /var/tmp/DIR") from error


def _copy_project(folder: Path, story: Story) -> None:
    """Copy the example into `folder`, as the story begins with it; leave it as it is if it was copied before.

    Raises:
        InputError: The folder holds something else.
    """
    source = _examples() / "flights"
    if not folder.exists():
        ignored = shutil.ignore_patterns(".*cache")
        shutil.copytree(source, folder, ignore=ignored)
        for edit in story.before:
            _edit(folder / edit.file, edit)
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
