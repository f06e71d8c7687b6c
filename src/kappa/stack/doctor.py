"""Check whether this machine can run a stack, and say what to do about what it lacks. Looks, and repairs nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from kappa.control.doctor import Finding, Verdict, finding_of
from kappa.stack.inventory import read_inventory
from kappa.stack.ports import ChosenPorts, is_free
from kappa.stack.processes import lives
from kappa.stack.software import cache_folder, gateway_folder, jars_folder
from kappa.stack.tools import (
    GO,
    MAVEN,
    Tool,
    check_entrance,
    postgres_folder,
    postgres_user,
    pyflink_folder,
    pyflink_missing,
    require_java,
)

# Software takes 0.2 GB in the cache and what Maven and Go keep beside it 1 GB; logs of Kafka take the rest.
_FREE_BYTES_MIN = 3 * 1024**3


def check_stack(folder: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check everything that `kappa stack up` would need."""
    cache = cache_folder(environment)
    yield finding_of("Java", lambda: require_java(environment))
    yield _installer("Maven", MAVEN, jars_folder(cache), environment)
    yield _installer("Go", GO, gateway_folder(cache), environment)
    yield finding_of("PostgreSQL", lambda: str(postgres_folder(environment)))
    yield finding_of("PostgreSQL's user", lambda: _postgres_user(folder))
    yield _flink()
    yield finding_of("ports", lambda: _ports(folder))
    yield _disk("disk", folder)
    yield _disk("cache", cache)


def _installer(check: str, tool: Tool, made: Path, environment: Mapping[str, str]) -> Finding:
    """Check a program that is needed only until it has done its work once."""
    if made.exists():
        return Finding(check, Verdict.OK, f"not needed any more: its work is in {made}")
    return finding_of(check, lambda: str(tool.find(environment)))


def _flink() -> Finding:
    if home := pyflink_folder():
        return Finding("Flink", Verdict.OK, str(home))
    missing = pyflink_missing()
    return Finding("Flink", Verdict.WARN, missing.message, missing.next_step)


def _postgres_user(folder: Path) -> str:
    user = postgres_user()
    if user is None:
        return "whoever runs the stack"
    check_entrance(user, folder)
    return f"'{user}', who can enter {folder}"


def _ports(folder: Path) -> str:
    """Say whether ports are free: those of the stack, if there is one that is down, or any."""
    inventory = read_inventory(folder)
    if inventory is None:
        return f"{ChosenPorts()['any']} is free, as an example"
    if any(lives(process) for process in inventory.processes.values()):
        return "the stack is up and has them"
    taken = sorted(port for port in inventory.ports.values() if not is_free(port))
    return f"taken meanwhile, and will be replaced: {', '.join(map(str, taken))}" if taken else "the stack's are free"


def _disk(check: str, folder: Path) -> Finding:
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:,.1f} GB free for {folder}"
    if free >= _FREE_BYTES_MIN:
        return Finding(check, Verdict.OK, found)
    return Finding(check, Verdict.WARN, found, f"free some space: a stack wants {_FREE_BYTES_MIN / 1e9:.0f} GB")
