"""Check a machine and a project, one finding each, with what to do about it. Looks, and repairs nothing."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from kappa.control.project import Project
from kappa.errors import KappaError
from kappa.ports import ControlStore, Holder, Log

_PYTHON_MIN = (3, 11)
_SQLITE_MIN = (3, 35, 0)  # RETURNING
_FREE_BYTES_WARN, _FREE_BYTES_FAIL = 2 * 1024**3, 100 * 1024**2


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes:
        check: What was checked.
        found: In a sentence.
        next_step: What to do, or None if all is well.
    """

    check: str
    verdict: Verdict
    found: str
    next_step: str | None = None


def finding_of(check: str, look: Callable[[], str]) -> Finding:
    """Return what `look` says if all is well; what stops it is a failure."""
    (finding,) = findings_of(check, lambda: [Finding(check, Verdict.OK, look())])
    return finding


def findings_of(check: str, look: Callable[[], Iterable[Finding]]) -> Sequence[Finding]:
    """Return what `look` finds; what stops it is a failure."""
    try:
        return list(look())
    except KappaError as error:
        where = f" ({error.where})" if error.where else ""
        return [Finding(check, Verdict.FAIL, error.message + where, error.next_step)]


def check_machine() -> Iterator[Finding]:
    """Check what kappa runs on."""
    yield _version("Python", tuple(sys.version_info[:3]), minimum=_PYTHON_MIN)
    yield _version("SQLite", sqlite3.sqlite_version_info, minimum=_SQLITE_MIN)


def _version(what: str, found: tuple[int, ...], *, minimum: tuple[int, ...]) -> Finding:
    text, wanted = (".".join(map(str, version)) for version in (found, minimum))
    if found < minimum:
        return Finding(what, Verdict.FAIL, f"{text} is older than {wanted}", f"install {what} {wanted} or later")
    return Finding(what, Verdict.OK, text)


def check_folder(folder: Path) -> Iterator[Finding]:
    """Check that the folder of the log and the stores, which may not exist yet, can be written and has room."""
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        yield Finding("folder", Verdict.FAIL, f"cannot write {existing}: {error.strerror}", "check its permissions")
    else:
        yield Finding("folder", Verdict.OK, f"{folder} can be written")
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:,.1f} GB free"
    if free >= _FREE_BYTES_WARN:
        yield Finding("disk", Verdict.OK, text)
    else:
        verdict = Verdict.FAIL if free < _FREE_BYTES_FAIL else Verdict.WARN
        yield Finding("disk", verdict, text, "free some space: appending stops when there is none left")


def describe_project(project: Project) -> str:
    """Say what a project's modules define."""
    return f"{len(project.events)} event types, {len(project.views)} views: {', '.join(project.views) or 'none'}"


def describe_holder(holder: Holder | None) -> str:
    """Say who runs a project's versions."""
    return "no" if holder is None else f"in {holder}"


def describe_log(log: Log) -> str:
    """Read each partition's last record, and say how many records there are.

    Raises:
        KappaError: The log cannot be read.
    """
    starts, ends = log.starts(), log.ends()
    for partition, end in ends.items():
        if end > starts[partition]:
            log.read(partition, end - 1, records_max=1)
    about = "about " if log.has_gaps else ""
    return f"{about}{sum(ends.values()) - sum(starts.values()):,} records in {len(ends)} partitions"


def describe_warnings(warnings: Sequence[str]) -> Iterator[Finding]:
    """Say what is wrong with the logs and can be lived with."""
    for warning in warnings:
        yield Finding("log", Verdict.WARN, warning, "see docs/kafka.md#topics")


def check_versions(project: Project, fingerprints: Mapping[str, str], control: ControlStore) -> Iterator[Finding]:
    """Compare the project's code with the versions that are deployed."""
    primaries = control.release().primaries
    deployed = {
        version.table.view: version
        for version in control.versions()
        if primaries.get(version.table.view) == version.table.version
    }
    for name in project.views:
        check = f"view {name}"
        if name not in deployed:
            yield Finding(check, Verdict.WARN, "not deployed yet", "kappa up")
        elif deployed[name].fingerprint != fingerprints[name]:
            found = f"the code has changed since v{deployed[name].table.version} was deployed"
            yield Finding(check, Verdict.WARN, found, "see what it changes: kappa plan")
        else:
            yield Finding(check, Verdict.OK, f"v{deployed[name].table.version} is the project's code")
    for name in sorted(deployed.keys() - project.views.keys()):
        yield Finding(f"view {name}", Verdict.WARN, "deployed, but not in the project's code any more", None)
