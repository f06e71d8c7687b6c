"""Fetch and build what a stack runs, once per machine: Kafka and the registry by Maven, the S3 gateway by Go; and for
Flink, which PyFlink brings, its connectors and kappa's own operators by Maven.

Both take it from wherever this machine's own settings say. PostgreSQL comes from the system's packages; it is found,
not fetched. A folder of the cache is complete or absent: it gets its name, which holds the version, when it is done.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import kappa
from kappa.stack.errors import InstallFailed
from kappa.stack.locking import locked
from kappa.stack.part import FlinkSoftware, Software
from kappa.stack.tools import GO, MAVEN, postgres_folder, pyflink_folder, pyflink_missing

CACHE_VARIABLE = "KAPPA_CACHE"
BRIDGE_JAR = "kappa-flink-bridge.jar"
_PACKAGE = Path(kappa.__file__).parent
_POM = Path(__file__).with_name("pom.xml")
_GATEWAY = "github.com/versity/versitygw/cmd/versitygw"
_GATEWAY_VERSION = "v1.7.0"
_LINES_MAX = 10

Say = Callable[[str], None]


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where fetched software is kept.

    >>> str(cache_folder({"KAPPA_CACHE": "/data/cache", "XDG_CACHE_HOME": "/home/ana/.cache"}))
    '/data/cache'
    >>> str(cache_folder({"XDG_CACHE_HOME": "/home/ana/.cache"}))
    '/home/ana/.cache/kappa'
    """
    if chosen := environment.get(CACHE_VARIABLE):
        return Path(chosen).expanduser().absolute()
    if caches := environment.get("XDG_CACHE_HOME"):
        return Path(caches) / "kappa"
    return Path.home() / ".cache" / "kappa"


def jars_folder(cache: Path) -> Path:
    """Return where the jars of today's pom.xml are kept."""
    return cache / f"jars-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"


def gateway_folder(cache: Path) -> Path:
    """Return where the S3 gateway is kept."""
    return cache / f"versitygw-{_GATEWAY_VERSION}"


def locate(environment: Mapping[str, str]) -> Software:
    """Return where everything is, or will be once it is installed.

    Raises:
        ToolMissing: PostgreSQL is not on this machine.
    """
    cache = cache_folder(environment)
    jars = jars_folder(cache)
    return Software(
        kafka=jars / "kafka",
        registry=jars / "registry",
        gateway=gateway_folder(cache) / "versitygw",
        postgres=postgres_folder(environment),
        flink=_locate_flink(cache),
    )


def _locate_flink(cache: Path) -> FlinkSoftware | None:
    home = pyflink_folder()
    if home is None:
        return None
    jars = jars_folder(cache)
    return FlinkSoftware(
        home=home,
        python=Path(sys.executable),
        # Not only where PyFlink is: an embedded Python follows no link to a package that is installed for editing.
        modules=(_PACKAGE.parent, home.parent),
        modules_hash=_hash_of(_PACKAGE, "**/*.py"),
        connectors=jars / "flink",
        bridge=bridge_folder(cache),
        plugins=jars / "flink-plugins",
    )


def bridge_sources() -> Path:
    """Return where the sources of kappa's Java module are: in the installed package, or beside it in the repository."""
    installed = _PACKAGE / "_flink_bridge"
    return installed if installed.exists() else _PACKAGE.parents[1] / "flink-bridge"


def bridge_folder(cache: Path) -> Path:
    """Return where the jar of today's Java module is kept."""
    return cache / f"flink-bridge-{_hash_of(bridge_sources(), 'pom.xml', 'src/main/**/*')}"


def _hash_of(folder: Path, *patterns: str) -> str:
    files = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def install(environment: Mapping[str, str], *, say: Say, with_flink: bool) -> Software:
    """Put what is missing into the cache, saying what and how long it took, and return where everything is.

    Raises:
        ToolMissing: Maven, Go or PostgreSQL is not on this machine, or PyFlink not in this Python.
        InstallFailed: Maven or Go could not do it.
    """
    software = locate(environment)
    cache = cache_folder(environment)
    if not jars_folder(cache).exists():
        _install(
            jars_folder(cache), "Kafka, the schema registry and connectors (270 MB)", _fetch_jars, environment, say
        )
    if not gateway_folder(cache).exists():
        _install(gateway_folder(cache), "the S3 gateway (a minute or two)", _build_gateway, environment, say)
    if with_flink and software.flink is None:
        raise pyflink_missing()
    if with_flink and not bridge_folder(cache).exists():
        _install(bridge_folder(cache), "kappa's operators for Flink", _build_bridge, environment, say)
    return software


def _install(
    folder: Path, what: str, make: Callable[[Path, Mapping[str, str]], None], environment: Mapping[str, str], say: Say
) -> None:
    try:
        with locked(folder.parent):
            if folder.exists():  # somebody else was faster
                return
            say(f"installing {what} in {folder}")
            began = time.monotonic()
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as unfinished:
                made = Path(unfinished) / folder.name
                made.mkdir()
                make(made, environment)
                made.rename(folder)
            say(f"installed {what} after {time.monotonic() - began:.0f} s")
    except OSError as error:
        raise InstallFailed(what=what, output=f"{error.strerror}: {error.filename}") from error


def _fetch_jars(folder: Path, environment: Mapping[str, str]) -> None:
    mvn = MAVEN.find(environment)
    # A copy: Maven writes beside its file, and ours may lie where nobody may write.
    pom = shutil.copy(_POM, folder)
    command = [str(mvn), "--quiet", "--batch-mode", "--file", str(pom), "package"]
    _run(command, "Kafka, the schema registry and connectors", environment)


def _build_gateway(folder: Path, environment: Mapping[str, str]) -> None:
    go = GO.find(environment)
    command = [str(go), "install", "-trimpath", "-ldflags=-s", f"{_GATEWAY}@{_GATEWAY_VERSION}"]
    _run(command, "the S3 gateway", {**environment, "GOBIN": str(folder)})


def _build_bridge(folder: Path, environment: Mapping[str, str]) -> None:
    mvn = MAVEN.find(environment)
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(bridge_sources(), copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target", "test"))
        command = [str(mvn), "--quiet", "--batch-mode", "--file", f"{copy}/pom.xml", "-DskipTests", "package"]
        _run(command, "kappa's operators for Flink", environment)
        shutil.move(f"{copy}/target/{BRIDGE_JAR}", folder)


def _run(command: Sequence[str], what: str, environment: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - a program that PATH names, with arguments of ours
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=os.sep,  # no settings of a folder where somebody happens to be
        check=False,
    )
    if done.returncode:
        raise InstallFailed(what=what, output="\n".join(done.stdout.strip().splitlines()[-_LINES_MAX:]))
