"""Faults that a disk has, without a disk that has them."""

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


@contextmanager
def _full_disk(connection: sqlite3.Connection) -> Iterator[None]:
    (page_count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {page_count}")
    try:
        yield
    finally:
        connection.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def _refused_writes() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def full_disk() -> Callable[[sqlite3.Connection], AbstractContextManager[None]]:
    """While it is entered, SQLite finds no room for another page: a true SQLITE_FULL."""
    return _full_disk


@pytest.fixture
def refused_writes() -> Callable[[], AbstractContextManager[None]]:
    """While it is entered, the system refuses every write of this process to a file: a true I/O error."""
    return _refused_writes


@pytest.fixture
def damage() -> Callable[[Path], None]:
    """Overwrite all pages of a database but the first, which says that it is one."""

    def overwrite(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))

    return overwrite
