"""Find the programs that a stack needs from the machine it runs on. Looks, and installs nothing."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kappa.errors import InputError
from kappa.stack.errors import ToolMissing

JAVA_MIN = 17
POSTGRES_USER = "postgres"  # whom Debian's package makes


@dataclass(frozen=True, slots=True)
class Tool:
    """A program.

    Attributes:
        purpose: What a stack needs it for.
        package: What brings it, in Debian's words.
    """

    name: str
    purpose: str
    package: str

    @property
    def next_step(self) -> str:
        """How to get it."""
        return f"install it: apt-get install {self.package} (or your system's package for it)"

    def missing(self, found: str = "is not installed") -> ToolMissing:
        """Return the error that says so."""
        return ToolMissing(tool=self.name, purpose=self.purpose, found=found, next_step=self.next_step)

    def find(self, environment: Mapping[str, str]) -> Path:
        """Return the program that PATH names.

        Raises:
            ToolMissing: There is none.
        """
        if found := shutil.which(self.name, path=environment.get("PATH", "")):
            return Path(found)
        raise self.missing()


JAVA = Tool("java", "Kafka, the schema registry and Flink run on it", "openjdk-17-jdk-headless")
MAVEN = Tool("mvn", "it fetches Kafka and the schema registry, and builds what Flink runs", "maven")
GO = Tool("go", "it builds the S3 gateway", "golang-go")
POSTGRES = Tool("postgres", "views, control store and schemas are kept in it", "postgresql")


def pyflink_folder() -> Path | None:
    """Return the package of PyFlink, which holds a whole distribution of Flink, or None if this Python has none."""
    found = importlib.util.find_spec("pyflink")
    return None if found is None or found.origin is None else Path(found.origin).parent


def pyflink_missing() -> ToolMissing:
    """Return the error that says that this Python has no PyFlink."""
    return ToolMissing(
        tool="PyFlink",
        purpose="it brings Flink",
        found=f"is not installed for {sys.executable}",
        next_step="pip install 'kappa-pipeline[flink]', or do without: kappa stack up --taskmanagers 0",
    )


def require_java(environment: Mapping[str, str]) -> str:
    """Return the version of Java.

    Raises:
        ToolMissing: There is none, or it is too old.
    """
    java = JAVA.find(environment)
    done = subprocess.run([java, "-version"], capture_output=True, text=True, env=dict(environment), check=False)  # noqa: S603
    found = re.search(r'version "((\d+)[^"]*)"', done.stderr)
    if found is None:
        raise JAVA.missing("does not say its version")
    version, major = found.groups()
    if int(major) < JAVA_MIN:
        raise JAVA.missing(f"{version} is older than {JAVA_MIN}")
    return str(version)


def postgres_folder(environment: Mapping[str, str], *, installed: Path = Path("/usr/lib/postgresql")) -> Path:
    """Return the folder of PostgreSQL's programs: from PATH, or the newest of those that Debian keeps apart.

    Raises:
        ToolMissing: There is none.
    """
    if found := shutil.which(POSTGRES.name, path=environment.get("PATH", "")):
        # Where the link leads: the programs find their own files from there.
        folders = [Path(found).resolve().parent]
    else:
        folders = sorted(installed.glob("*/bin"), key=lambda each: _numbers(each.parent.name), reverse=True)
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise POSTGRES.missing()


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def postgres_user() -> str | None:
    """Return who must run PostgreSQL: somebody else when this is root, as whom it refuses to run.

    Raises:
        ToolMissing: This is root, and the user that PostgreSQL's package makes does not exist.
    """
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(POSTGRES_USER)
    except KeyError:
        raise ToolMissing(
            tool=f"the user '{POSTGRES_USER}'",
            purpose="PostgreSQL refuses to run as root",
            found="does not exist",
            next_step=f"create it: useradd --system {POSTGRES_USER}",
        ) from None
    return POSTGRES_USER


def check_entrance(user: str, folder: Path) -> None:
    """Check that a user may enter a folder, which need not exist yet.

    Raises:
        InputError: A folder on the way there is closed to the user.
    """
    account = pwd.getpwnam(user)
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            return
        status = each.stat()
        shift = 6 if status.st_uid == account.pw_uid else 3 if status.st_gid == account.pw_gid else 0
        if not status.st_mode >> shift & 1:
            raise InputError(
                f"PostgreSQL runs as '{user}', who cannot enter {each}",
                where=str(folder),
                next_step="keep the stack elsewhere: kappa stack up --folder /var/lib/kappa-stack",
            )
