"""The command line as a whole: help, errors, exit codes, what is imported when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kappa.cli import VERBS, cli

ROOT = Path(__file__).parents[2]
MAIN = "from kappa.cli import main; main()"


def commands() -> dict[str, click.Command]:
    """Return all commands that do something, by the words that name them."""
    found: dict[str, click.Command] = {}
    for name in VERBS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        found |= {f"{name} {each}".strip(): inner[each] for each in inner}
    return found


@pytest.mark.parametrize("name", sorted(commands()))
def test_each_verb_says_what_it_does_with_an_example_and_offers_json(name: str) -> None:
    command = commands()[name]
    assert command.help is not None

    assert f"kappa {name}" in command.help or name in ("version", "dlq list")
    assert any(option.name == "as_json" for option in command.params)
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_the_reference_is_what_help_says_now() -> None:
    """In a process of its own: a command that ran before keeps the names of its help option."""
    command = [sys.executable, "-m", "kappa.cli.reference"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert (ROOT / "docs" / "cli.md").read_text() == said, "python -m kappa.cli.reference > docs/cli.md"


def test_help_imports_nothing_heavy() -> None:
    script = "import sys; from kappa.cli import execute; execute(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "Usage: kappa" in done.stdout
    assert not {"rich", "duckdb", "sqlite3", "kappa.app", "asyncio"} & set(done.stderr.split())


def test_a_wrong_command_line_is_exit_code_2(kappa) -> None:
    typed = kappa("ingets")

    assert (typed.code, typed.out) == (2, "")
    assert "No such command 'ingets'" in typed.err


def test_an_error_says_what_where_and_what_next(kappa, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed = kappa("status")

    assert (typed.code, typed.out) == (1, "")
    assert typed.err.splitlines() == [
        "error: no kappa.toml here or in any folder above",
        f"where: {tmp_path}",
        "next:  start a project with `kappa init`, or name its folder: kappa --project DIR ...",
    ]


def test_an_unexpected_error_is_a_message_and_not_a_traceback(kappa, project, monkeypatch) -> None:
    monkeypatch.setattr("kappa.app.App.status", lambda _: 1 / 0)
    typed = kappa("status")

    assert typed.code == 1
    assert typed.err.startswith("error: kappa failed unexpectedly: ZeroDivisionError: division by zero\nnext: ")
    assert "Traceback" not in typed.err


def test_a_traceback_is_shown_to_who_asks(kappa, project, monkeypatch) -> None:
    monkeypatch.setattr("kappa.app.App.status", lambda _: 1 / 0)
    monkeypatch.setenv("KAPPA_TRACEBACK", "1")

    assert "Traceback (most recent call last)" in kappa("status").err


def test_an_interruption_is_exit_code_130(kappa, project, monkeypatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kappa.app.App.status", interrupted)
    typed = kappa("status")

    assert (typed.code, typed.err.strip()) == (130, "interrupted")


def test_a_project_can_be_named(kappa, project, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert kappa("--project", project, "status", "--json").json["project"] == "shop"


def test_a_pipe_gets_no_colours(project) -> None:
    done = subprocess.run([sys.executable, "-c", MAIN, "doctor"], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("ok    Python: ")
    assert "\x1b" not in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error(project) -> None:
    """`kappa tail | head`: neither a traceback nor a complaint."""
    assert subprocess.run([sys.executable, "-c", MAIN, "ingest", "events.ndjson"], check=True).returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", MAIN, "tail"], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")
