"""Ingesting another log: once, resumable, whatever it holds, and moved to the partitions of its keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from control.crashing import Crashes, CrashingLog
from storages import open_stores

from kappa.control.ingest import AsIs, EventReader
from kappa.control.ingest.topics import TopicIngestion
from kappa.model.records import NewRecord
from kappa.ports import Log
from kappa.testing.reading import all_batches


def order(user: str, number: int) -> bytes:
    return f'{{"type":"OrderPlaced","timestamp":"2026-01-01T00:00:00Z","user_id":"{user}","number":{number}}}'.encode()


class Topic:
    """A topic that somebody else keys by country, and the log that takes it."""

    def __init__(self, folder: Path) -> None:
        self._opened = ExitStack()
        theirs = self._opened.enter_context(open_stores(folder / "theirs", partitions=3))
        ours = self._opened.enter_context(open_stores(folder / "ours", partitions=4))
        self.topic, self.log, self.control = theirs.open_log("orders"), ours.events, ours.control

    def close(self) -> None:
        self._opened.close()

    def produce(self, count: int, *, start: int = 0) -> None:
        numbers = range(start, start + count)
        self.topic.append([NewRecord(b"AT" if n % 2 else b"DE", order(f"user {n % 7}", n)) for n in numbers])

    def ingestion(self, log: Log | None = None) -> TopicIngestion:
        reader = EventReader("user_id")
        return TopicIngestion(self.topic, log=log or self.log, control=self.control, reader=reader, mapping=AsIs())

    def values(self) -> list[bytes]:
        return sorted(value for batch in all_batches(self.log) for value in batch.values)


@pytest.fixture
def orders(tmp_path: Path, storage: str) -> Iterator[Topic]:
    with closing(Topic(tmp_path)) as made:
        yield made


def test_a_topic_is_taken_once_and_goes_on_where_it_stopped(orders: Topic) -> None:
    orders.produce(10)
    *_, first = orders.ingestion().run()
    orders.produce(5, start=10)
    *_, second = orders.ingestion().run()

    assert (first.appended, second.appended, second.already_there) == (10, 5, 10)
    assert orders.values() == sorted(order(f"user {n % 7}", n) for n in range(15))


def test_events_come_into_the_partitions_of_our_key_and_keep_their_order(orders: Topic) -> None:
    orders.topic.append([NewRecord(b"AT", order("ana", n)) for n in range(20)])
    list(orders.ingestion().run())

    [batch] = [batch for batch in all_batches(orders.log) if len(batch)]
    assert list(batch.values) == [order("ana", n) for n in range(20)]
    assert set(batch.keys) == {b"ana"}


def test_what_is_no_event_is_rejected_with_its_place(orders: Topic) -> None:
    orders.topic.append([NewRecord(b"AT", order("ana", 1)), NewRecord(b"AT", b"no event"), NewRecord(None, b"")])
    *_, report = orders.ingestion().run()

    assert (report.appended, report.rejected) == (1, 2)
    [entry] = [entry for entry in orders.control.rejected(limit=9) if entry.value == b"no event"]
    assert entry.source.startswith("orders[")
    assert entry.place == 1
    assert "JSON" in entry.reason


@pytest.mark.parametrize("committed", [True, False], ids=["after a commit", "before a commit"])
def test_killed_at_any_append_it_adds_nothing_twice(orders: Topic, committed: bool) -> None:
    orders.produce(100)
    for _ in range(2):
        with pytest.raises(Crashes):
            list(orders.ingestion(CrashingLog(orders.log, at=1, committed=committed)).run())

    list(orders.ingestion().run())

    assert orders.values() == sorted(order(f"user {n % 7}", n) for n in range(100))
