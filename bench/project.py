"""The shop as a project on disk, and the command line on it: what a user has."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench import SHOP
from bench.data import shop_file

# The command of the environment that this runs in.
KAPPA = Path(sys.executable).with_name("kappa")


def new_project(folder: Path) -> Path:
    """Copy the shop into a folder that does not exist yet, without any state."""
    folder.mkdir(parents=True)
    for name in ("kappa.toml", "shop.py"):
        shutil.copy(SHOP / name, folder)
    return folder


def ingest(project: Path, *, events: int, keys: int) -> Path:
    """Ingest the shop's events by the command line, and return the file of the log."""
    file = shop_file(events, keys)
    command = [KAPPA, "--project", project, "ingest", file, "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return project / ".kappa" / "logs" / "events.db"
