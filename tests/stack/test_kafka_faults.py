"""Brokers and processes are killed or paused: nothing acknowledged is lost, and nothing is there twice."""

from __future__ import annotations

import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import pytest
from confluent_kafka.admin import AdminClient

from kappa import Event
from kappa.adapters.embedded.repartition import Repartitioner
from kappa.adapters.kafka import sending, sources
from kappa.adapters.kafka.log import KafkaLog, KafkaLogs
from kappa.adapters.kafka.topics import Durability
from kappa.errors import StoreUnavailable
from kappa.model.interleaving import interleaved
from kappa.model.partitioning import partition_of
from kappa.model.records import NewRecord, Source
from kappa.model.rekeying import Rekeying
from kappa.ports.log import copied_up_to
from kappa.stack import Stack
from kappa.testing.eventually import eventually
from kappa.testing.processes import run_and_kill
from kappa.testing.reading import batches_of

pytestmark = pytest.mark.slow

BATCHES, RECORDS = 60, 500
PARTITIONS = 4
K = partition_of(b"k", PARTITIONS)


@pytest.fixture
def stack(three_broker_stack: Stack) -> Iterator[Stack]:
    yield three_broker_stack
    heal(three_broker_stack)


def heal(stack: Stack) -> None:
    """Wake who is paused, start who is gone."""
    for part in stack.status():
        if part.name.startswith("kafka"):
            stack.kill(part.name, signal.SIGCONT) if part.pid else stack.start(part.name)
    admin = AdminClient({"bootstrap.servers": stack.address("kafka"), "log_level": 0})

    def whole() -> bool:
        topics = admin.list_topics(timeout=10).topics.values()
        return all(len(each.isrs) == len(each.replicas) for topic in topics for each in topic.partitions.values())

    eventually(whole, timeout_s=90, what="every replica in sync")


@pytest.fixture
def open_logs(stack: Stack) -> Callable[[], KafkaLogs]:
    return partial(KafkaLogs, stack.address("kafka"), prefix=f"{uuid.uuid4().hex[:8]}.", durability=Durability())


def leader(stack: Stack, log: KafkaLog) -> str:
    """Return the broker that leads the partition that the tests write to."""
    admin = AdminClient({"bootstrap.servers": stack.address("kafka"), "log_level": 0})
    return f"kafka-{admin.list_topics(log.topic, timeout=10).topics[log.topic].partitions[K].leader}"


def append_all(open_logs: Callable[[], KafkaLogs], *, batches: int = BATCHES) -> None:
    """Append numbered records from one source, trying again as a worker does when the log is away."""
    log = open_logs().open("events", partition_count=PARTITIONS)
    for start in range(0, batches * RECORDS, RECORDS):
        end = start + RECORDS
        records = [NewRecord(b"k", b"%d" % number) for number in range(start, end)]
        source = Source("numbers", str(start) if start else None, str(end))
        while True:
            try:
                log.append(records, source=source)
            except StoreUnavailable:
                continue
            break


def read_on(log: KafkaLog, found: list[bytes], position: list[int]) -> int:
    """Read what is next, if the log answers, and return how much was read so far."""
    try:
        batch = log.read(K, position[0], records_max=1_000)
    except StoreUnavailable:
        return len(found)
    found += batch.values
    position[0] = batch.next_offset
    return len(found)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_is_killed_or_paused_costs_nothing_but_time(
    stack: Stack, open_logs: Callable[[], KafkaLogs], number: int
) -> None:
    log = open_logs().open("events", partition_count=PARTITIONS)
    found: list[bytes] = []
    position = [0]
    writer = threading.Thread(target=append_all, args=(open_logs,), daemon=True)
    writer.start()
    eventually(lambda: read_on(log, found, position) >= 10 * RECORDS, timeout_s=60, what="a part is read")

    stack.kill(leader(stack, log), number)

    eventually(lambda: read_on(log, found, position) >= BATCHES * RECORDS, timeout_s=90, what="all is read")
    writer.join(30)
    heal(stack)
    assert read_on(log, found, position) == BATCHES * RECORDS
    assert found == [b"%d" % each for each in range(BATCHES * RECORDS)]


def test_with_two_of_three_brokers_down_an_append_waits_says_so_and_succeeds_when_they_return(
    stack: Stack, open_logs: Callable[[], KafkaLogs], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sending, sources):
        monkeypatch.setattr(module, "APPEND_TIMEOUT_S", 4.0)
    log = open_logs().open("events", partition_count=PARTITIONS)
    log.append([NewRecord(b"k", b"before")], source=Source("file", None, "1"))
    append = partial(log.append, [NewRecord(b"k", b"after")], source=Source("file", "1", "2"))
    for name in {"kafka-1", "kafka-2", "kafka-3"} - {leader(stack, log)}:
        stack.kill(name)

    with pytest.raises(StoreUnavailable) as refusal:
        append()

    assert refusal.value.retryable
    assert "replicas" in refusal.value.message or "down" in refusal.value.message or "refused" in refusal.value.message
    heal(stack)

    def succeeds() -> bool:
        try:
            append()
        except StoreUnavailable:
            return False
        return True

    eventually(succeeds, timeout_s=60, what="the append")
    assert [record.value for batch in batches_of(log, K) for record in batch] == [b"before", b"after"]


class PageView(Event):
    user_id: str
    page: str


class Patient:
    def wait(self, seconds: float, *, reason: str = "") -> None:
        """Try again at once."""


def copier(logs: KafkaLogs) -> Repartitioner:
    source = logs.open("events", partition_count=PARTITIONS)
    target = logs.open("events-by-page", partition_count=PARTITIONS)
    rekeying = Rekeying(("page",), [PageView])
    return Repartitioner(source, target, rekeying, reject=lambda _: None, waiter=Patient(), copy_records_max=300)


def copy_for_ever(open_logs: Callable[[], KafkaLogs]) -> None:
    its = copier(open_logs())
    while True:
        its.step()


def test_a_killed_repartitioner_copies_some_twice_and_readers_see_each_once(
    open_logs: Callable[[], KafkaLogs],
) -> None:
    logs = open_logs()
    source = logs.open("events", partition_count=PARTITIONS)
    target = logs.open("events-by-page", partition_count=PARTITIONS)
    views = [{"type": "PageView", "user_id": f"u{n % 11}", "page": f"/{n % 7}", "n": n} for n in range(12_000)]
    source.append([NewRecord(view["user_id"].encode(), json.dumps(view).encode()) for view in views])

    for share in (0.2, 0.4, 0.6):
        enough = share * len(views)
        run_and_kill(copy_for_ever, open_logs, when=lambda enough=enough: sum(target.ends().values()) > enough)
    # Killed between the copies and the note of how far they go.
    target.append(_next_copies(logs))
    last = copier(logs)
    while last.step():
        pass

    assert copied_up_to(source, target) == source.ends()
    twice = [record for each in range(PARTITIONS) for batch in batches_of(target, each) for record in batch]
    assert len(twice) > len(views)
    read = []
    for each in range(PARTITIONS):
        batches = list(interleaved(batches_of(target, each)))
        read += [record.value for batch in batches for record in batch]
        origins = [origin for batch in batches for origin in batch.origins]
        for partition in range(PARTITIONS):
            assert all(a < b for a, b in pairwise(origin for origin in origins if origin[0] == partition))
    assert sorted(read) == sorted(json.dumps(view).encode() for view in views)


def _next_copies(logs: KafkaLogs) -> list[NewRecord]:
    its = copier(logs)
    rekeying = Rekeying(("page",), [PageView])
    return [
        NewRecord(rekeying.key_of(record.value), record.value, 0, (partition, record.offset))
        for partition, position in its.positions.items()
        for record in logs.open("events", partition_count=PARTITIONS).read(partition, position, records_max=100)
    ]
