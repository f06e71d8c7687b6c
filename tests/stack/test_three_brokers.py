"""Three brokers lose one of them and nobody notices; the one that comes back has everything again."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kappa.stack import Stack
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

TOPIC = "three-brokers"


def in_sync(admin: AdminClient) -> int:
    """Return how many brokers have all of the topic. A broker that has not heard of a new topic shows no partitions."""
    partitions = admin.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
    return min((len(each.isrs) for each in partitions.values()), default=0)


def test_three_brokers_serve_while_one_is_dead_and_take_it_back(three_broker_stack: Stack) -> None:
    stack = three_broker_stack
    bootstrap = stack.address("kafka")
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(TOPIC, 6, 3)])[TOPIC].result(30)
    eventually(lambda: in_sync(admin) == 3, what="three copies")
    others = {part.name: part.pid for part in stack.status() if part.name != "kafka-2"}

    stack.kill("kafka-2")
    acknowledged = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "log_level": 0})
    for number in range(600):
        producer.produce(TOPIC, b"%d" % number, on_delivery=lambda error, _: acknowledged.append(error))
    assert producer.flush(60) == 0
    stack.start("kafka-2")

    assert acknowledged == [None] * 600
    eventually(lambda: in_sync(admin) == 3, timeout_s=60, what="three copies again")
    assert {part.name: part.pid for part in stack.status() if part.name != "kafka-2"} == others
