"""`kappa` as a person types it, in this process; and a project to type it in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from storages import SQLITE

from kappa.cli import execute
from kappa.control.starter import write_starter


class Typed(NamedTuple):
    """What a command line answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Kappa = Callable[..., Typed]

MAIN = "from kappa.cli import main; main()"


@pytest.fixture
def kappa(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kappa:
    """Run a command line. What it imports from a project is forgotten afterwards, as if its process had ended."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def typed(*arguments: str | Path) -> Typed:
        path = list(sys.path)
        capfd.readouterr()
        code = execute([str(argument) for argument in arguments])
        sys.path[:] = path
        sys.modules.pop("shop", None)
        return Typed(code, *capfd.readouterr())

    return typed


def type_in_another_process(folder: Path, *arguments: str) -> None:
    """Run a command line as a person does. It must succeed."""
    # Python takes a file that is changed twice in a second for unchanged, if it may keep its bytecode.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", MAIN, *arguments], cwd=folder, env=environment, check=True)


def fold_the_sample(folder: Path) -> None:
    """Make a project whose view has folded the sample events and one that it cannot fold."""
    write_starter(folder)
    with (folder / "events.ndjson").open("a") as events:
        events.write('{"type":"OrderPlaced","user_id":"bob","timestamp":"2026-03-04T00:00:00Z","amount":"many"}\n')
        events.write("not json\n")
    type_in_another_process(folder, "ingest", "events.ndjson", "--source", "sample")
    type_in_another_process(folder, "run", "--until-caught-up")


@pytest.fixture
def on_files(request: pytest.FixtureRequest) -> None:
    """Leave a test out elsewhere: it damages files, or counts records, among which Kafka has marks of transactions."""
    if request.config.getoption("storage") != SQLITE:
        pytest.skip("it is about files, or about offsets without marks of transactions")


@pytest.fixture
def shown(request: pytest.FixtureRequest) -> Callable[[str, str], str]:
    """Choose what is expected: the first where the log is a file, the second where topics count marks as well."""
    in_files = request.config.getoption("storage").startswith("sqlite+")
    return lambda files, topics: files if in_files else topics


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest, use_storage: Callable[[str], None]) -> Path:
    """Where to make a test's project, whose logs and rows are where `--storage` says."""
    storage = request.config.getoption("storage")
    if storage != SQLITE:
        use_storage(storage)
    return tmp_path / "shop"


@pytest.fixture
def project(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a new project, which is the working folder."""
    write_starter(place)
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="session")
def folded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose view has folded the sample events and one that it cannot fold. Copied, not used."""
    folder = tmp_path_factory.mktemp("folded") / "shop"
    fold_the_sample(folder)
    return folder


@pytest.fixture
def folded(place: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, which is the working folder. What servers hold cannot be copied, and is made anew."""
    if request.config.getoption("storage") == SQLITE:
        shutil.copytree(request.getfixturevalue("folded_once"), place)
    else:
        fold_the_sample(place)
    monkeypatch.chdir(place)
    return place
