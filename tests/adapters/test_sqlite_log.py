"""The log on SQLite keeps the laws of a log, and what is particular to its file."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from kappa.adapters.sqlite.log import BATCH_BYTES_MAX, SqliteLog, SqliteLogs
from kappa.errors import HistoryLost, StorageFull, StoreUnavailable
from kappa.model.records import NewRecord, Source
from kappa.testing.log_conformance import LogConformance


class TestSqliteLog(LogConformance):
    @pytest.fixture
    def open_logs(self, tmp_path: Path) -> Callable[[], SqliteLogs]:
        return partial(SqliteLogs, tmp_path / "logs")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with SqliteLogs(tmp_path).open("events", partition_count=1) as log:
        yield log


def numbers(start: int, end: int) -> list[NewRecord]:
    return [NewRecord(b"k", b"%d" % n) for n in range(start, end)]


def blocks(log: SqliteLog) -> list[tuple[int, int]]:
    return log._connection.execute("SELECT id, count FROM blocks ORDER BY id").fetchall()


def test_records_lie_in_blocks_of_a_thousand(log):
    log.append(numbers(0, 2_500))
    log.append(numbers(0, 1))

    assert blocks(log) == [(0, 1_000), (1_000, 1_000), (2_000, 500), (2_500, 1)]


def test_a_time_begins_at_the_first_block_with_an_event_of_it_or_later(log):
    for times in ([5, 1], [9, 2], [3], [9]):
        log.append([NewRecord(b"k", b"", time) for time in times])

    assert {time: log.offsets_from(time)[0] for time in (0, 5, 6, 9, 10)} == {0: 0, 5: 0, 6: 2, 9: 2, 10: 6}


def test_large_records_lie_in_blocks_of_a_mebibyte(log):
    log.append([NewRecord(b"k", b"x" * 400_000)] * 5)

    assert blocks(log) == [(0, 2), (2, 2), (4, 1)]


def test_the_last_partition_begins_where_the_one_before_cannot_reach(tmp_path):
    with SqliteLogs(tmp_path).open("events", partition_count=3) as log:
        log.append([NewRecord(b"%d" % n, b"") for n in range(100)])

        assert {block_id >> 40 for block_id, _ in blocks(log)} == {0, 1, 2}
        assert sum(log.ends().values()) == 100


def test_many_small_blocks_make_one_batch(log):
    for start in range(300):
        log.append(numbers(start, start + 1))

    assert list(log.read(0, 10, records_max=1_000).values) == [b"%d" % n for n in range(10, 300)]


def test_a_batch_of_large_records_ends_before_memory_does(log):
    record = NewRecord(b"k", b"x" * 1_000_000)
    log.append([record] * 20)

    batch = log.read(0, 0, records_max=20)

    assert len(batch) == BATCH_BYTES_MAX // 1_000_000
    assert len(log.read(0, batch.next_offset, records_max=20)) == 20 - len(batch)


def test_records_bear_the_time_of_their_append(log):
    before_us = time.time_ns() // 1_000
    log.append(numbers(0, 3))
    after_us = time.time_ns() // 1_000

    times = log.read(0, 0, records_max=10).appended_at_us
    assert len(times) == 3
    assert before_us <= min(times) <= max(times) <= after_us


def test_origins_are_kept(log):
    log.append([NewRecord(b"k", b"1", 5, origin=(2, 7)), NewRecord(b"k", b"2")])

    (payload,) = log._connection.execute("SELECT payload FROM blocks").fetchone()
    times = (5).to_bytes(8, "little") + bytes(8)
    assert msgspec.msgpack.decode(payload) == [[b"k", b"k"], times, [b"1", b"2"], [[2, 7], None]]
    assert list(log.read(0, 0, records_max=10).values) == [b"1", b"2"]


def test_a_reader_of_deleted_history_is_told_where_the_log_starts(log):
    for start in range(0, 9, 3):
        log.append(numbers(start, start + 3))
    log._connection.execute("DELETE FROM blocks WHERE id < 6")

    with pytest.raises(HistoryLost) as refusal:
        log.read(0, 5, records_max=10)

    assert (refusal.value.wanted, refusal.value.first) == (5, 6)
    assert (log.starts(), log.ends()) == ({0: 6}, {0: 9})
    assert list(log.read(0, 6, records_max=10).values) == [b"6", b"7", b"8"]


def test_a_full_disk_takes_nothing_and_work_goes_on_when_there_is_room(
    log: SqliteLog, full_disk: Callable[[sqlite3.Connection], AbstractContextManager[None]]
):
    log.append(numbers(0, 3))
    large = [NewRecord(b"k", b"x" * 100_000)]

    with full_disk(log._connection), pytest.raises(StorageFull, match=r"events\.db"):
        log.append(large, source=Source("file", expected=None, state="1"))

    assert (log.ends(), log.source_state("file")) == ({0: 3}, None)
    log.append(large, source=Source("file", expected=None, state="1"))
    assert (log.ends(), log.source_state("file")) == ({0: 4}, "1")


def test_a_failed_write_takes_nothing_and_work_goes_on_when_writes_succeed(
    log: SqliteLog, refused_writes: Callable[[], AbstractContextManager[None]]
):
    log.append(numbers(0, 3))

    with refused_writes(), pytest.raises(StoreUnavailable, match="disk I/O error"):
        log.append(numbers(3, 6))

    assert log.ends() == {0: 3}
    log.append(numbers(3, 6))
    assert [record.value for record in log.read(0, 0, records_max=10)] == [b"%d" % n for n in range(6)]


def test_a_log_that_could_not_be_created_is_not_there(
    tmp_path: Path, refused_writes: Callable[[], AbstractContextManager[None]]
):
    logs = SqliteLogs(tmp_path / "logs")

    with refused_writes(), pytest.raises(StoreUnavailable):
        logs.open("events", partition_count=1)

    assert list((tmp_path / "logs").iterdir()) == []
    logs.open("events", partition_count=1).close()


def test_a_log_held_by_another_writer_is_unavailable(log, tmp_path):
    with SqliteLogs(tmp_path).open("events", partition_count=1) as other:
        other._connection.execute("PRAGMA busy_timeout = 0")
        log._connection.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailable, match="locked") as refusal:
            other.append(numbers(0, 1))

        assert refusal.value.retryable
        assert other.ends() == {0: 0}
        log._connection.execute("COMMIT")
        other.append(numbers(0, 1))


def test_a_file_that_is_no_database_is_named(tmp_path):
    file = tmp_path / "events.db"
    file.write_bytes(b"This is not a database. " * 1_000)

    with pytest.raises(StoreUnavailable, match=r"not a database") as refusal:
        SqliteLogs(tmp_path).open("events", partition_count=1)

    assert (refusal.value.store, refusal.value.retryable) == (str(file), False)


def test_a_damaged_file_is_named(log: SqliteLog, damage: Callable[[Path], None], tmp_path: Path):
    log.append(numbers(0, 5_000))
    log.close()
    damage(tmp_path / "events.db")

    with pytest.raises(StoreUnavailable, match="malformed") as refusal:
        SqliteLogs(tmp_path).open("events", partition_count=1)

    assert refusal.value.store == str(tmp_path / "events.db")
