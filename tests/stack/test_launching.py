"""Bringing parts up, with parts that are shell scripts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kappa.stack import launching
from kappa.stack.errors import PartFailed
from kappa.stack.launching import failed, launch
from kappa.stack.part import Part
from kappa.stack.processes import Process, kill, lives, start


class Launching:
    """What `launch` is given, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.processes: dict[str, Process] = {}

    def part(self, name: str, script: str = "touch up; exec sleep 60", needs: tuple[str, ...] = ()) -> Part:
        up = self.folder / name / "up"
        return Part(
            name=name,
            script=script,
            environment={},
            folder=self.folder / name,
            ports={},
            address=f"at {name}",
            answers=up.exists,
            needs=needs,
        )

    def launch(self, *parts: Part) -> Part | None:
        return launch(parts, start=self._start, alive=self._alive, log_of=self.log_of, say=self.said.append)

    def log_of(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _start(self, part: Part) -> None:
        self.processes[part.name] = start(part, self.log_of(part.name), {"PATH": os.environ["PATH"]})

    def _alive(self, part: Part) -> bool:
        return part.name in self.processes and lives(self.processes[part.name])


@pytest.fixture
def launching_(tmp_path):
    launching_ = Launching(tmp_path)
    yield launching_
    kill(tuple(launching_.processes.values()))


def test_a_part_starts_when_what_it_needs_is_ready(launching_) -> None:
    checks = "test -e ../first/up || exit 1; touch up; exec sleep 60"

    ended = launching_.launch(
        launching_.part("second", checks, needs=("first",)),
        launching_.part("first", "sleep 0.2; touch up; exec sleep 60"),
    )

    assert ended is None
    assert [line.split(":")[0] for line in launching_.said] == ["first", "second"]


def test_a_part_that_runs_is_left_alone(launching_) -> None:
    launching_.launch(launching_.part("only"))
    before = launching_.processes["only"]

    assert launching_.launch(launching_.part("only")) is None
    assert launching_.processes["only"] == before
    assert launching_.said[-1] == "only: runs already, at only"


def test_a_part_that_ends_is_named_and_its_last_words_are_in_the_error(launching_, tmp_path) -> None:
    part = launching_.part("only", "echo cannot do it; exit 3")

    assert launching_.launch(part) is part
    error = failed(part, "ended 3 times before it was ready", tmp_path / "only.log")
    assert error.message == "only ended 3 times before it was ready; its last words:\ncannot do it"
    assert error.where == str(tmp_path / "only.log")


def test_a_part_that_ends_while_others_wait_for_it_is_named(launching_) -> None:
    first = launching_.part("first", "touch up; exec sleep 60")
    launching_.launch(first)
    second = launching_.part("second", "kill -9 $FIRST; exec sleep 60", needs=("first",))
    second.environment["FIRST"] = str(launching_.processes["first"].pid)

    assert launching_.launch(first, second) is first


def test_last_words_are_what_was_thrown_and_not_from_where(launching_, tmp_path) -> None:
    part = launching_.part("only")
    frames = [f"\tat org.example.Actor.receive(Actor.java:{line})" for line in range(50)]
    log = tmp_path / "only.log"
    log.write_text("\n".join(["ready", "Exception: nobody", *frames, "\t... 10 more", "again in 10 s"]))

    assert failed(part, "is gone", log).message.endswith("its last words:\nready\nException: nobody\nagain in 10 s")


def test_a_part_that_never_answers_is_an_error(launching_, monkeypatch) -> None:
    monkeypatch.setattr(launching, "READY_TIMEOUT_S", 0.2)

    with pytest.raises(PartFailed, match="only does not answer after 0 s; its log is empty"):
        launching_.launch(launching_.part("only", "exec sleep 60"))
