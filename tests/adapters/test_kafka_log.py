"""The log on Kafka keeps the laws of a log, and what is particular to its topics."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from kappa.adapters.kafka import cluster
from kappa.adapters.kafka.log import KafkaLog, KafkaLogs
from kappa.adapters.kafka.opening import open_logs as open_by_settings
from kappa.adapters.kafka.topics import Durability
from kappa.control.tail import last_records
from kappa.errors import HistoryLost, ProjectError, SourceMoved, StoreUnavailable
from kappa.model.partitioning import partition_of
from kappa.model.records import NewRecord, Source
from kappa.stack import Stack
from kappa.testing.eventually import eventually
from kappa.testing.log_conformance import LogConformance
from kappa.testing.reading import all_batches, batches_of

pytestmark = pytest.mark.slow

ONE = Durability(replication_factor=1, min_insync_replicas=1)
K = partition_of(b"k", 4)


def new_prefix() -> str:
    return f"{uuid.uuid4().hex[:8]}."


class TestKafkaLog(LogConformance):
    log_count = 10  # a topic takes a broker a tenth of a second

    @pytest.fixture
    def open_logs(self, small_stack: Stack) -> Callable[[], KafkaLogs]:
        servers = small_stack.address("kafka")
        return partial(KafkaLogs, servers, prefix=new_prefix(), durability=ONE, ahead_max_us=1_000)


@pytest.fixture
def address(small_stack: Stack) -> str:
    return small_stack.address("kafka")


@pytest.fixture
def admin(address: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": address, "log_level": 0})


@pytest.fixture
def prefix() -> str:
    return new_prefix()


@pytest.fixture
def logs(address: str, prefix: str) -> Iterator[KafkaLogs]:
    logs = KafkaLogs(address, prefix=prefix, durability=ONE)
    yield logs
    logs.close()


@pytest.fixture
def log(logs: KafkaLogs) -> KafkaLog:
    return logs.open("events", partition_count=4)


@pytest.fixture
def foreign(address: str) -> Producer:
    """Somebody else's producer, with transactions and the partitioner that Java's producers have."""
    settings = {"transactional.id": new_prefix(), "partitioner": "murmur2_random", "log_level": 0}
    producer = Producer({"bootstrap.servers": address, **settings})
    producer.init_transactions(30)
    return producer


def numbers(start: int, end: int) -> list[NewRecord]:
    return [NewRecord(b"k", b"%d" % n, n) for n in range(start, end)]


def values(log: KafkaLog) -> list[bytes]:
    return [record.value for batch in all_batches(log) for record in batch]


def settings_of(admin: AdminClient, topic: str) -> dict[str, str | None]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result().items()}


def create(admin: AdminClient, topic: str, partitions: int, **config: str) -> None:
    named = {name.replace("_", "."): value for name, value in config.items()}
    admin.create_topics([NewTopic(topic, partitions, 1, config=named)])[topic].result(30)


def test_a_topic_keeps_every_event_for_a_year_from_its_append(log: KafkaLog, admin: AdminClient, prefix: str):
    found = settings_of(admin, f"{prefix}events")

    assert {
        "cleanup.policy": "delete",
        "retention.ms": str(365 * 24 * 60 * 60 * 1000),
        "segment.ms": str(24 * 60 * 60 * 1000),
        "min.insync.replicas": "1",
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
    }.items() <= found.items()
    assert settings_of(admin, f"{prefix}events.sources")["cleanup.policy"] == "compact"


def test_a_topic_as_we_make_it_gives_no_reason_to_warn(logs: KafkaLogs, log: KafkaLog):
    assert logs.warnings() == []


def test_a_compacted_topic_is_refused_with_the_remedy(logs: KafkaLogs, admin: AdminClient, prefix: str):
    create(admin, f"{prefix}events", 4, cleanup_policy="compact,delete")

    with pytest.raises(ProjectError, match="compacted") as refusal:
        logs.open("events", partition_count=4)

    assert "cleanup.policy=delete" in (refusal.value.next_step or "")


def test_a_topic_that_has_grown_is_refused_although_it_is_open(
    logs: KafkaLogs, log: KafkaLog, admin: AdminClient, prefix: str
):
    admin.create_partitions([NewPartitions(f"{prefix}events", 6)])[f"{prefix}events"].result(30)

    with pytest.raises(ProjectError, match="has 6 partitions, not 4") as refusal:
        logs.open("events", partition_count=4)

    assert "the events of a key now lie in two partitions" in (refusal.value.next_step or "")


def test_what_makes_loss_likelier_is_warned_of(logs: KafkaLogs, address: str, admin: AdminClient, prefix: str):
    create(admin, f"{prefix}events", 4, retention_ms="604800000", retention_bytes="1000000")

    logs.open("events", partition_count=4)

    warnings = KafkaLogs(address, prefix=prefix, durability=Durability()).warnings()

    assert [warning.removeprefix(f"{prefix}events ") for warning in warnings] == [
        "has 1 replicas of a partition, not 3",
        "acknowledges what 1 replicas have, not 2",
        "deletes events after 7 days, not 365",
        "deletes events beyond 1,000,000 bytes of a partition, whatever their age",
        "keeps producers' times: retention deletes old events as soon as they are appended",
        "takes batches of 1048588 bytes, not 1114112",
    ]


def test_a_topic_of_sources_that_somebody_else_made_is_refused_or_warned_of(
    logs: KafkaLogs, log: KafkaLog, admin: AdminClient, prefix: str
):
    create(admin, f"{prefix}events-by-page.sources", 3)
    with pytest.raises(ProjectError, match="sources has 3 partitions, not 1"):
        logs.open("events-by-page", partition_count=4)

    create(admin, f"{prefix}events-by-city.sources", 1, cleanup_policy="delete")
    logs.open("events-by-city", partition_count=4)
    assert [warning for warning in logs.warnings() if "events-by-city" in warning] == [
        f"{prefix}events-by-city.sources is not compacted: retention deletes how far each source was ingested"
    ]


def test_topics_of_others_that_begin_alike_are_no_logs(
    logs: KafkaLogs, log: KafkaLog, address: str, admin: AdminClient, prefix: str
):
    create(admin, f"{prefix}orders", 6)
    KafkaLogs(address, prefix=f"{prefix}eu.", durability=ONE).open("events", partition_count=4)

    assert logs.names() == ["events"]


def test_more_replicas_than_brokers_are_refused(address: str, prefix: str):
    with pytest.raises(StoreUnavailable, match="replication") as refusal:
        KafkaLogs(address, prefix=prefix, durability=Durability()).open("events", partition_count=4)

    assert not refusal.value.retryable


def test_another_producer_needs_no_headers_and_agrees_on_partitions(log: KafkaLog, foreign: Producer, prefix: str):
    keys = [b"%d" % n for n in range(100)]
    foreign.begin_transaction()
    for key in keys:
        foreign.produce(f"{prefix}events", b"v", key)
    foreign.commit_transaction()
    eventually(lambda: len(values(log)) == 100, what="the transaction's mark")

    records = [record for batch in all_batches(log) for record in batch]

    assert sorted(record.key or b"" for record in records) == sorted(keys)
    assert all(record.partition == partition_of(record.key, 4) for record in records)
    assert {record.event_time_us for record in records} == {0}


def test_records_bear_the_time_of_their_append(log: KafkaLog):
    before_us = time.time_ns() // 1_000_000 * 1_000
    log.append([NewRecord(b"k", b"v", event_time_us=1)])
    after_us = time.time_ns() // 1_000

    (batch,) = batches_of(log, K)
    assert before_us <= batch.appended_at_us[0] <= after_us


def test_a_time_begins_where_records_were_appended_that_may_be_dated_so(address: str, prefix: str, log: KafkaLog):
    log.append(numbers(0, 3), source=Source("file", None, "3"))
    after_us = time.time_ns() // 1_000 + 2_000
    eventually(lambda: time.time_ns() // 1_000 > after_us + 2_000)
    log.append(numbers(3, 6), source=Source("file", "3", "6"))
    second = log.read(K, 3, records_max=1).offsets[0]
    with closing(KafkaLogs(address, prefix=prefix, durability=ONE, ahead_max_us=1_000)) as other_logs:
        seeking = other_logs.open("events", partition_count=4)

        assert seeking.offsets_from(after_us + 1_000)[K] == second
        assert seeking.offsets_from(after_us + 3_600_000_000) == seeking.ends()
        assert seeking.offsets_from(-(2**63)) == seeking.starts()
    assert log.offsets_from(after_us + 3_600_000_000) == log.starts()  # nothing is known of its events' times


def test_deleted_history_is_lost_to_a_reader(log: KafkaLog, admin: AdminClient, prefix: str):
    log.append(numbers(0, 10))
    place = TopicPartition(f"{prefix}events", K, 6)
    admin.delete_records([place])[place].result(30)

    with pytest.raises(HistoryLost) as refusal:
        log.read(K, 3, records_max=10)

    assert (refusal.value.wanted, refusal.value.first, log.starts()[K]) == (3, 6, 6)
    assert list(log.read(K, 6, records_max=10).values) == [b"6", b"7", b"8", b"9"]


def test_an_open_transaction_holds_back_the_end(log: KafkaLog, foreign: Producer, prefix: str):
    foreign.begin_transaction()
    foreign.produce(f"{prefix}events", b"open", b"k")
    foreign.flush(30)
    log.append(numbers(0, 3))

    assert (log.ends()[K], values(log)) == (0, [])

    foreign.commit_transaction()
    assert_eventually_read(log, [b"open", b"0", b"1", b"2"])


def test_aborted_records_are_never_seen_and_do_not_stop_a_reader(log: KafkaLog, foreign: Producer, prefix: str):
    log.append(numbers(0, 3))
    foreign.begin_transaction()
    for _ in range(2_000):
        foreign.produce(f"{prefix}events", b"aborted", b"k")
    foreign.flush(30)
    foreign.abort_transaction()

    assert_eventually_read(log, [b"0", b"1", b"2"])
    log.append(numbers(3, 5))
    assert_eventually_read(log, [b"0", b"1", b"2", b"3", b"4"])


def assert_eventually_read(log: KafkaLog, wanted: list[bytes]) -> None:
    """Read up to the end, past the marks of transactions, and compare; a mark comes a moment behind its commit."""
    for _ in range(200):
        found, position = [], 0
        while position < (end := log.ends()[K]):
            batch = log.read(K, position, records_max=100)
            found += list(batch.values)
            assert batch.next_offset > position
            position = batch.next_offset
        assert position == end
        if found == wanted:
            return
    assert found == wanted


def test_a_position_reaches_the_end_behind_a_transaction(log: KafkaLog):
    log.append(numbers(0, 3), source=Source("file", None, "3"))

    batches = list(batches_of(log, K))

    position = batches[-1].next_offset
    assert log.ends()[K] == 4  # three records and the mark
    assert log.read(K, position, records_max=10).next_offset == 4


def test_whoever_appends_last_owns_the_source(address: str, prefix: str, log: KafkaLog):
    other_logs = KafkaLogs(address, prefix=prefix, durability=ONE)
    other = other_logs.open("events", partition_count=4)
    log.append(numbers(0, 3), source=Source("file", None, "3"))

    other.append(numbers(3, 6), source=Source("file", "3", "6"))

    with pytest.raises(SourceMoved):
        log.append(numbers(3, 6), source=Source("file", "3", "6"))
    log.append(numbers(6, 9), source=Source("file", "6", "9"))
    assert (values(log), other.source_state("file")) == ([b"%d" % n for n in range(9)], "9")
    other_logs.close()


def test_an_append_that_was_committed_unheard_is_not_repeated(log: KafkaLog):
    """As when the answer to a commit is lost: the caller is told to try again."""
    source = Source("file", None, "3")
    log.append(numbers(0, 3), source=source)
    log._undecided = source

    log.append(numbers(0, 3), source=source)

    assert values(log) == [b"0", b"1", b"2"]


def test_an_append_that_is_committed_succeeds_although_nobody_can_say_whether_readers_see_it(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
):
    """As when brokers go away just then: told to try again, the caller would find that its source has moved."""

    def unavailable() -> dict[int, int]:
        raise StoreUnavailable(store="Kafka", cause="two of three brokers are down")

    monkeypatch.setattr(log._reader, "ends_uncommitted", unavailable)

    log.append(numbers(0, 3), source=Source("file", None, "3"))

    monkeypatch.undo()
    assert_eventually_read(log, [b"0", b"1", b"2"])


def test_copies_tell_their_origin_in_a_repartitioned_log_only(logs: KafkaLogs, log: KafkaLog):
    copies = [NewRecord(b"k", b"%d" % n, origin=(2, n)) for n in range(3)]
    by_page = logs.open("events-by-page", partition_count=4)
    by_page.append(copies, source=Source("events[2]", None, "3"))
    by_page.append([NewRecord(b"k", b"foreign")])
    log.append([NewRecord(b"k", b"an event")])

    assert [origin for batch in batches_of(by_page, K) for origin in batch.origins] == [(2, 0), (2, 1), (2, 2), (-1, 3)]
    assert [batch.origins for batch in batches_of(log, K)] == [()]


def test_copies_of_a_killed_repartitioner_are_there_twice_and_readers_can_tell(logs: KafkaLogs):
    copies = [NewRecord(b"k", b"%d" % n, origin=(2, n)) for n in range(3)]
    by_page = logs.open("events-by-page", partition_count=4)
    by_page.append(copies)  # killed before it noted how far it came

    by_page.append(copies, source=Source("events[2]", None, "3"))

    assert by_page.source_state("events[2]") == "3"
    assert [record.value for batch in batches_of(by_page, K) for record in batch] == [b"0", b"1", b"2"] * 2


def test_brokers_that_cannot_be_reached_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(cluster, "REQUEST_TIMEOUT_S", 0.5)

    with pytest.raises(StoreUnavailable, match=r"Kafka at 127\.0\.0\.1:9: ") as refusal:
        KafkaLogs("127.0.0.1:9", prefix="x.", durability=ONE).names()

    assert refusal.value.retryable


def test_a_name_that_no_topic_can_have_is_refused(logs: KafkaLogs):
    with pytest.raises(ProjectError, match="cannot be the name of a topic"):
        logs.open("events-by-größe", partition_count=1)


def test_secrets_come_from_the_environment_and_from_files(tmp_path):
    (tmp_path / "password").write_text("from a file\n")
    options = {"sasl.username": "env:WHO", "sasl.password": f"file:{tmp_path / 'password'}", "client.id": "kappa"}
    where = {"project": "shop", "prefix": "", "durability": ONE, "ahead_max_us": None}

    logs = open_by_settings("host:9092", **where, options=options, environment={"WHO": "ana"})

    assert logs._cluster._options == {"sasl.username": "ana", "sasl.password": "from a file", "client.id": "kappa"}
    with pytest.raises(ProjectError, match="WHO, which is not set"):
        open_by_settings("host:9092", **where, options=options, environment={})


def test_as_many_of_the_last_records_are_found_as_are_asked_for(log: KafkaLog) -> None:
    """Marks of transactions take offsets, and are no records."""
    assert log.has_gaps
    for number in range(12):
        state = str(number - 1) if number else None
        log.append([NewRecord(b"k", b"%d" % number)], source=Source("file", expected=state, state=str(number)))

    found = last_records(log, tuple(range(4)), records_max=10)
    assert [record.value for record in found] == [b"%d" % number for number in range(2, 12)]
    assert len(last_records(log, (K,), records_max=100)) == 12
