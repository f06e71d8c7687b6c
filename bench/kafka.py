"""Kafka: appending and reading by the log's adapter, against the client library by itself, on one broker and on three.

The bare producer sends the same records, headers and all, to partitions that it is told, with the same promises:
idempotent, acknowledged by all replicas, lz4. The bare consumer takes messages and looks at none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.data import shop_values
from bench.measure import Bound, Figure, Rates, at_least, in_turns, ratio, timed
from bench.settings import Settings
from kappa.adapters.kafka.headers import headers_of
from kappa.adapters.kafka.log import KafkaLog, KafkaLogs
from kappa.adapters.kafka.topics import Durability
from kappa.model.partitioning import partition_of
from kappa.model.records import NewRecord
from kappa.stack import Stack

PARTITIONS = 10
EVENTS_MAX = 500_000
APPEND_RECORDS = 20_000
READ_RECORDS = 1_000


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    events = min(settings.events, EVENTS_MAX)
    records = [
        NewRecord(b"user-%d" % (number * 7_919 % settings.keys), value, 1_700_000_000_000_000 + number)
        for number, value in enumerate(shop_values(events, settings.keys))
    ]
    settings.folder.chmod(0o711)  # PostgreSQL's user goes through it
    figures: list[Figure] = []
    for name, small in (("one broker", True), ("three brokers", False)):
        with Stack(settings.folder / name.replace(" ", "-"), small=small) as stack:
            figures += _on(name, stack.address("kafka"), records, small=small, rounds=settings.rounds)
    return figures


def _on(name: str, address: str, records: Sequence[NewRecord], *, small: bool, rounds: int) -> Iterator[Figure]:
    durability = Durability(1, 1) if small else Durability()
    numbers = count()
    logs: list[KafkaLogs] = []

    def new_log() -> KafkaLog:
        logs.append(KafkaLogs(address, prefix=f"bench{next(numbers)}.", durability=durability))
        log = logs[-1].open("events", partition_count=PARTITIONS)
        log.append(records[:100])  # whoever is measured has connected already
        return log

    def kappa_append() -> float:
        log = new_log()
        return timed(lambda: _append(log, records), events=len(records))

    def bare_append() -> float:
        topic = new_log().topic
        producer = Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "queue.buffering.max.messages": 200_000,
                "log_level": 0,
            }
        )
        _produce(producer, topic, records[:100])
        return timed(lambda: _produce(producer, topic, records), events=len(records))

    full = new_log()
    _append(full, records)

    rates = in_turns(
        {
            f"{name}: bare producer": bare_append,
            f"{name}: append": kappa_append,
            f"{name}: bare consumer": lambda: timed(lambda: _consume(address, full), events=len(records)),
            f"{name}: read": lambda: timed(lambda: _read(full), events=len(records)),
        },
        rounds=rounds,
    )
    yield _rate(rates, f"{name}: bare producer")
    yield _rate(rates, f"{name}: append")
    yield ratio(rates, f"{name}: append", f"{name}: bare producer", bound=at_least(0.9))
    yield _rate(rates, f"{name}: bare consumer")
    yield _rate(rates, f"{name}: read", bound=at_least(300_000))
    for each in logs:
        each.close()


def _rate(rates: Rates, what: str, *, bound: Bound | None = None) -> Figure:
    return Figure(what, "events/s", rates[what], bound=bound)


def _append(log: KafkaLog, records: Sequence[NewRecord]) -> None:
    for start in range(0, len(records), APPEND_RECORDS):
        log.append(records[start : start + APPEND_RECORDS])


def _produce(producer: Producer, topic: str, records: Sequence[NewRecord]) -> None:
    for number, record in enumerate(records):
        partition = partition_of(record.key, PARTITIONS)
        while True:
            try:
                producer.produce(topic, record.value, record.key, partition, headers=headers_of(record))
                break
            except BufferError:
                producer.poll(0.01)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush()


def _read(log: KafkaLog) -> None:
    for partition, end in log.ends().items():
        position = 0
        while position < end:
            position = log.read(partition, position, records_max=READ_RECORDS).next_offset


def _consume(address: str, log: KafkaLog) -> None:
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "bench", "enable.auto.commit": False, "log_level": 0}
    )
    left = sum(log.ends().values())
    consumer.assign([TopicPartition(log.topic, partition, 0) for partition in range(PARTITIONS)])
    while left > 0:
        left -= len(consumer.consume(min(READ_RECORDS, left), 5))
    consumer.close()
