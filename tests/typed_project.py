"""A project in a folder, and what is typed there: commands, and edits of its module `shop`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KAPPA = [sys.executable, "-m", "kappa"]


class Project:
    """A shop in a folder, and what is typed there, with an environment: by default this process's."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.environment = folder, environment

    def __call__(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            [*KAPPA, *command], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"kappa {' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def json(self, *command: str) -> Any:
        return json.loads(self(*command, "--json"))

    def edit(self, *changes: tuple[str, str]) -> None:
        file = self.folder / "shop.py"
        text = file.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        file.write_text(text)

    @contextmanager
    def background(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        process = self.start(*command)
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*KAPPA, *command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def states(self, view: str) -> dict[int, str]:
        listed = self.json("versions", view)["versions"]
        return {version["version"]: version["state"] for version in listed}

    def rows(self, view: str, key: str, columns: str) -> list[Any]:
        answer = self.json("query", f"SELECT {columns} FROM {view} ORDER BY {key}", "--rows-max", "100000")
        return list(answer["rows"])
