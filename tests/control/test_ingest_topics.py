"""Ingesting another log: once, resumable, whatever it holds, and moved to the partitions of its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control.conftest import target_of
from control.crashing import Crashes, CrashingLog
from storages import open_stores

from kappa.control.ingest import AsIs
from kappa.control.ingest.topics import TopicIngestion
from kappa.errors import HistoryLost, InputError, StoreUnavailable
from kappa.model.records import NewRecord, RecordBatch
from kappa.ports import Log
from kappa.testing.reading import all_batches


def order(user: str, number: int) -> bytes:
    return f'{{"type":"OrderPlaced","timestamp":"2026-01-01T00:00:00Z","user_id":"{user}","number":{number}}}'.encode()


class AnotherTopic:
    """A log of somebody else's, which deletes what is old, may be made anew, and is away now and then."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.identity = "1"
        self.deleted: Mapping[int, int] = {}
        self.failures_left = 0

    def read(self, partition: int, start: int, *, records_max: int) -> RecordBatch:
        if start < (first := self.starts()[partition]):
            raise HistoryLost(log=self.log.name, partition=partition, wanted=start, first=first)
        if self.failures_left:
            self.failures_left -= 1
            raise StoreUnavailable(store="Kafka", cause="its brokers are down")
        return self.log.read(partition, start, records_max=records_max)

    def starts(self) -> Mapping[int, int]:
        return dict(self.log.starts()) | self.deleted

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


class Topic:
    """A topic that somebody else keys by country, and the log that takes it."""

    def __init__(self, folder: Path) -> None:
        self._opened = ExitStack()
        theirs = self._opened.enter_context(open_stores(folder / "theirs", partitions=3))
        ours = self._opened.enter_context(open_stores(folder / "ours", partitions=4))
        self.topic, self.log, self.control = AnotherTopic(theirs.open_log("orders")), ours.events, ours.control

    def close(self) -> None:
        self._opened.close()

    def produce(self, count: int, *, start: int = 0) -> None:
        numbers = range(start, start + count)
        self.topic.append([NewRecord(b"AT" if n % 2 else b"DE", order(f"user {n % 7}", n)) for n in numbers])

    def ingestion(self, log: Log | None = None, **options: Any) -> TopicIngestion:
        return TopicIngestion(self.topic, target_of(log or self.log, self.control, AsIs()), **options)

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


def test_what_the_topic_had_deleted_before_it_was_ever_taken_is_not_missed(orders: Topic) -> None:
    orders.topic.append([NewRecord(b"AT", order("ana", n)) for n in range(10)])
    partition = next(number for number, end in orders.topic.ends().items() if end)
    orders.topic.deleted = {partition: 4}

    *_, report = orders.ingestion().run()

    assert report.appended == 6


def test_what_it_deletes_before_it_is_taken_further_is_missed_only_if_that_is_said(orders: Topic) -> None:
    orders.topic.append([NewRecord(b"AT", order("ana", n)) for n in range(10)])
    list(orders.ingestion().run())
    orders.topic.append([NewRecord(b"AT", order("ana", n)) for n in range(10, 20)])
    partition = next(number for number, end in orders.topic.ends().items() if end)
    orders.topic.deleted = {partition: 15}

    with pytest.raises(HistoryLost) as refusal:
        list(orders.ingestion().run())
    *_, report = orders.ingestion(skip_lost=True).run()

    assert (refusal.value.wanted, refusal.value.first) == (10, 15)
    assert "--skip-lost" in str(refusal.value.next_step)
    assert report.appended == 5


def test_a_topic_that_was_made_anew_is_refused_under_its_old_name(orders: Topic) -> None:
    orders.produce(10)
    list(orders.ingestion().run())
    orders.topic.identity = "2"

    with pytest.raises(InputError, match="'orders' was ingested before, but what was taken then was another topic"):
        list(orders.ingestion().run())
    *_, report = orders.ingestion(source="orders of the new shop").run()

    assert report.appended == 10


def test_it_waits_for_brokers_that_are_away_and_goes_on(orders: Topic) -> None:
    reasons: list[str] = []

    class Waiter:
        def wait(self, seconds: float, *, reason: str = "") -> None:
            reasons.append(reason)

    orders.produce(10)
    orders.topic.failures_left = 2
    target = msgspec.structs.replace(target_of(orders.log, orders.control, AsIs()), waiter=Waiter())

    *_, report = TopicIngestion(orders.topic, target).run()

    assert report.appended == 10
    assert reasons == ["could not use Kafka: its brokers are down"] * 2
