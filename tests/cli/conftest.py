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
# Python takes a file that is changed twice in a second for unchanged, if it may keep its bytecode.
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a new project, which is the working folder."""
    folder = tmp_path / "shop"
    write_starter(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def folded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose view has folded the sample events and one that it cannot fold. Copied, not used."""
    folder = tmp_path_factory.mktemp("folded") / "shop"
    write_starter(folder)
    with (folder / "events.ndjson").open("a") as events:
        events.write('{"type":"OrderPlaced","user_id":"bob","timestamp":"2026-03-04T00:00:00Z","amount":"many"}\n')
        events.write("not json\n")
    for arguments in (["ingest", "events.ndjson", "--source", "sample"], ["run", "--until-caught-up"]):
        subprocess.run([sys.executable, "-c", MAIN, *arguments], cwd=folder, env=ENVIRONMENT, check=True)
    return folder


@pytest.fixture
def folded(folded_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, which is the working folder."""
    folder = tmp_path / "shop"
    shutil.copytree(folded_once, folder)
    monkeypatch.chdir(folder)
    return folder
