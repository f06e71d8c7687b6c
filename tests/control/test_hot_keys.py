"""The key that holds a partition up is found in a sample of what is still to be folded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kappa.adapters.sqlite.log import SqliteLog, SqliteLogs
from kappa.control.hot_keys import find_hot_key
from kappa.model.records import NewRecord
from kappa.planning.backpressure import HotKey


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with SqliteLogs(tmp_path).open("events", partition_count=1) as log:
        yield log


def of(*keys: bytes | None) -> list[NewRecord]:
    return [NewRecord(key, b"") for key in keys]


def test_the_key_with_most_events_is_found_with_its_share(log: SqliteLog) -> None:
    log.append(of(*[b"ana", b"ana", b"ana", b"bo", b"cleo"] * 4_000))

    assert find_hot_key(log, 0, 0) == HotKey("ana", 0.6)


def test_a_burst_at_the_beginning_is_no_hot_key(log: SqliteLog) -> None:
    others = [b"user %d" % number for number in range(15_000)]
    log.append(of(*[b"ana"] * 1_000, *others))

    found = find_hot_key(log, 0, 0)

    assert found == HotKey("ana", 0.25)


def test_what_is_folded_already_does_not_count(log: SqliteLog) -> None:
    log.append(of(*[b"ana"] * 5_000, *[b"bo"] * 100))

    assert find_hot_key(log, 0, 5_000) == HotKey("bo", 1.0)


@pytest.mark.parametrize("keys", [[], [None, None]])
def test_without_keys_there_is_none(log: SqliteLog, keys: list[bytes | None]) -> None:
    log.append(of(*keys))

    assert find_hot_key(log, 0, 0) is None


def test_a_key_that_is_no_text_can_be_shown(log: SqliteLog) -> None:
    log.append(of(b"\xff1"))

    assert find_hot_key(log, 0, 0) == HotKey("\ufffd1", 1.0)
