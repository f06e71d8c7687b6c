"""The control store on SQLite keeps the laws of a control store, and what is particular to its file."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from kappa.adapters.sqlite.control import SqliteControl
from kappa.errors import StorageFull, StoreUnavailable
from kappa.ports import RejectedInput, Release, RunReport
from kappa.testing.control_conformance import ControlStoreConformance


class TestSqliteControl(ControlStoreConformance):
    @pytest.fixture
    def open_control(self, tmp_path: Path) -> Callable[[], SqliteControl]:
        return partial(SqliteControl, tmp_path / "control.db")


@pytest.fixture
def control(tmp_path: Path) -> Iterator[SqliteControl]:
    with closing(SqliteControl(tmp_path / "control.db")) as control:
        yield control


def test_a_full_disk_takes_nothing_and_work_goes_on_when_there_is_room(
    control: SqliteControl, full_disk: Callable[[sqlite3.Connection], AbstractContextManager[None]]
):
    inputs = [RejectedInput("file", n, n + 1, b"x" * 1_000, 1_000, "expected an object") for n in range(100)]

    with full_disk(control._connection), pytest.raises(StorageFull, match=r"control\.db"):
        control.reject(inputs)

    assert control.rejected_count() == 0
    control.reject(inputs)
    assert control.rejected_count() == 100


def test_a_reader_never_waits_for_a_writer(control: SqliteControl, tmp_path: Path):
    with closing(SqliteControl(tmp_path / "control.db")) as other, other._transaction() as writing:
        writing.execute("UPDATE release SET document = '{}'")

        assert (control.release(), control.versions(), control.last_report()) == (Release(0, {}), [], None)


def test_only_a_report_may_be_lost_with_the_power(control: SqliteControl):
    """In synchronous mode 2, FULL, a commit is on disk when it returns."""
    report = RunReport(1, datetime(2026, 3, 1, tzinfo=UTC), [])
    modes = []

    def note_mode(sql: str) -> None:
        if sql.startswith(("INSERT", "DELETE")):
            modes.append((sql.split(maxsplit=1)[0], control._connection.execute("PRAGMA synchronous").fetchone()[0]))

    control._connection.set_trace_callback(note_mode)
    control.report(report)
    control.delete_plan(1)

    assert modes == [("INSERT", 1), ("DELETE", 2)]


@pytest.mark.parametrize("found", [0, 4])
def test_a_file_of_another_format_is_refused(tmp_path: Path, found: int):
    file = tmp_path / "control.db"
    SqliteControl(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {found}")

    with pytest.raises(StoreUnavailable, match=f"its format is {found}, and this release of kappa reads") as refusal:
        SqliteControl(file)

    assert (refusal.value.store, refusal.value.retryable) == (str(file), False)


def test_a_file_that_is_no_database_is_named(tmp_path):
    file = tmp_path / "control.db"
    file.write_bytes(b"This is not a database. " * 1_000)

    with pytest.raises(StoreUnavailable, match="not a database") as refusal:
        SqliteControl(file)

    assert refusal.value.store == str(file)
