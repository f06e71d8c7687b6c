"""What the tests of the embedded engine share: a log to fold, and a way to compare whole versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kappa.adapters.sqlite.log import SqliteLogs
from kappa.model.records import NewRecord
from kappa.model.schema import ViewTable
from kappa.model.views import view_spec
from kappa.ports import Log, ViewStore
from kappa.testing.accounts import Account


def table(*, partition_count: int, group_count: int) -> ViewTable:
    """Return the table of `Account`, version 1."""
    spec = view_spec(Account)
    return ViewTable(spec.name, 1, spec.key_columns, spec.columns, "events", partition_count, group_count)


def fill_log(folder: Path, records: Sequence[NewRecord], *, partition_count: int, append_max: int) -> Log:
    """Write records to a new log, `append_max` at a time."""
    log = SqliteLogs(folder).open("events", partition_count=partition_count)
    for start in range(0, len(records), append_max):
        log.append(records[start : start + append_max])
    return log


def contents(store: ViewStore, version: ViewTable) -> tuple[object, ...]:
    """Return everything that a version holds, comparable: rows with state and position, dead letters, progress."""
    rows = sorted(store.scan(version), key=lambda row: row.columns[: len(version.key)])
    return rows, list(store.dead_letters(version, limit=100_000)), dict(store.progress(version))
