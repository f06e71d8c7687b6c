"""What must hold for the repository as a whole, and is easily broken by accident."""

from __future__ import annotations

import inspect
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import kappa

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
# Where packages come from is a matter of each machine's settings, never of the repository.
INDEX = re.compile(r"https?://[\w.-]*(pypi|pythonhosted|npm|crates|maven|golang|artifact|nexus|mirror|proxy|registry)")


def tracked_files() -> list[Path]:
    """Return the files that are in the repository, or would be with the next commit, leaving out binary ones."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    paths = (ROOT / name.decode() for name in listed.split(b"\0") if name)
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_versions_with_hashes_and_names_no_place(lock: Path) -> None:
    requirement = r"[a-z0-9-]+==\S+( ; .*)? \\\n"
    hashes = r"(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+"

    assert re.fullmatch(f"({requirement}{hashes})+", lock.read_text())


def test_the_locks_agree_on_versions() -> None:
    pins = {line.split(" ")[0] for lock in LOCKS for line in lock.read_text().splitlines() if "==" in line}
    names = [pin.partition("==")[0] for pin in pins]

    assert sorted(names) == sorted(set(names))


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [
        each
        for wanted in project["project"]["optional-dependencies"].values()
        for each in wanted
        if not each.startswith("kappa-pipeline[")
    ]
    wanted = {"demo": project["project"]["dependencies"], "test": [*project["dependency-groups"]["dev"], *extras]}

    for lock, requirements in wanted.items():
        locked = re.findall(r"^([\w-]+)==", (ROOT / "requirements" / f"{lock}.lock").read_text(), re.MULTILINE)
        assert {re.split(r"[^\w-]", requirement)[0] for requirement in requirements} <= set(locked)


def test_no_file_names_the_host_of_a_package_index() -> None:
    naming = [str(path.relative_to(ROOT)) for path in tracked_files() if INDEX.search(path.read_text(errors="replace"))]

    assert naming == []


def test_every_target_of_the_makefile_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)

    assert set(phony.split()) == set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


@pytest.mark.parametrize("name", getattr(kappa, "__all__", []))
def test_a_public_name_is_documented(name: str) -> None:
    documentation = inspect.getdoc(getattr(kappa, name))

    assert documentation, name
    assert documentation.splitlines()[0].endswith((".", ":", "?"))
