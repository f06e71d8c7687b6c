"""The control store on SQLite keeps the laws of a control store, and what is particular to its file."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

import pytest

from kappa.adapters.sqlite.control import SqliteControl
from kappa.errors import StorageFull, StoreUnavailable
from kappa.ports.control import RejectedInput
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


def test_a_file_that_is_no_database_is_named(tmp_path):
    file = tmp_path / "control.db"
    file.write_bytes(b"This is not a database. " * 1_000)

    with pytest.raises(StoreUnavailable, match="not a database") as refusal:
        SqliteControl(file)

    assert refusal.value.store == str(file)
