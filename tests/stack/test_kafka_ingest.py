"""`kappa ingest` with real brokers: topics of other systems are taken once, and what is away is waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from servers.test_wire import DRAFT, order_message, protobuf_module

from kappa.adapters.kafka.opening import open_topic
from kappa.adapters.sqlite.log import SqliteLogs
from kappa.errors import InputError
from kappa.stack import Stack
from kappa.testing.eventually import eventually
from kappa.testing.reading import all_batches

pytestmark = pytest.mark.slow

COUNT = 30_000
# Patience that a test can wait for, before the command says that it waits.
MAIN = (
    "from kappa.adapters.kafka import cluster, sending, sources\n"
    "cluster.ANSWER_TIMEOUT_S = 1.0; sending.APPEND_TIMEOUT_S = sources.APPEND_TIMEOUT_S = 4.0\n"
    "from kappa.cli import main; main()"
)


def event(number: int) -> bytes:
    return b'{"type":"Seen","user_id":"user-%d","timestamp":"2026-03-01T12:00:00Z","number":%d}' % (number % 97, number)


class Project:
    """A project, the brokers that it knows, and a topic of somebody else's."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.folder, self.stack = folder, stack
        self.topic = f"theirs-{uuid.uuid4().hex[:8]}"
        self.admin = AdminClient({"bootstrap.servers": stack.address("kafka"), "log_level": 0})
        self.environment = {
            "KAPPA_KAFKA_BOOTSTRAP_SERVERS": stack.address("kafka"),
            "KAPPA_KAFKA_TOPIC_PREFIX": f"{uuid.uuid4().hex[:8]}.",
            "KAPPA_KAFKA_REPLICATION_FACTOR": "1",
            "KAPPA_KAFKA_MIN_INSYNC_REPLICAS": "1",
            "KAPPA_REGISTRY_URL": stack.address("registry"),
        }
        settings = '[project]\nname = "shop"\nmodules = ["shop"]\n[log]\nkey = "user_id"\n'
        (folder / "kappa.toml").write_text(settings)

    def create(self, *, partitions: int = 3, **config: str) -> None:
        new = NewTopic(
            self.topic, partitions, 1, config={name.replace("_", "."): each for name, each in config.items()}
        )
        self.admin.create_topics([new])[self.topic].result(30)

    def produce(self, *values: bytes) -> None:
        """Append by a producer that keys by something else than the project does."""
        producer = Producer({"bootstrap.servers": self.stack.address("kafka"), "linger.ms": 5, "log_level": 0})
        for number, value in enumerate(values):
            producer.produce(self.topic, value, b"country-%d" % (number % 5))
            producer.poll(0)
        assert producer.flush(60) == 0

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kappa(self, *arguments: str) -> str:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    def ingest(self, *options: str) -> dict:
        return json.loads(self.kappa("ingest", "--from-kafka", self.topic, "--json", *options))["report"]

    def log(self) -> SqliteLogs:
        return SqliteLogs(self.folder / ".kappa" / "logs")

    def values(self) -> list[bytes]:
        with self.log().open("events", partition_count=4) as log:
            return [value for batch in all_batches(log) for value in batch.values]


@pytest.fixture
def project(tmp_path: Path, small_stack: Stack) -> Iterator[Project]:
    yield Project(tmp_path, small_stack)
    for part in small_stack.status():
        if part.name.startswith("kafka") and not part.pid:
            small_stack.start(part.name)


def test_a_topic_of_any_partition_count_is_taken_once_and_goes_on(project: Project) -> None:
    project.create(partitions=3)
    project.produce(*(event(number) for number in range(100)), b"rubbish")
    first = project.ingest()
    project.admin.create_partitions([NewPartitions(project.topic, 5)])[project.topic].result(30)
    eventually(lambda: len(project.admin.list_topics(project.topic).topics[project.topic].partitions) == 5)
    project.produce(*(event(number) for number in range(100, 200)))

    second = project.ingest()

    assert (first["appended"], first["rejected"]) == (100, 1)
    assert (second["appended"], second["already_there"]) == (100, 100)
    assert sorted(project.values()) == sorted(event(number) for number in range(200))
    listed = json.loads(project.kappa("dlq", "list", "--json"))
    assert listed["rejected"] == 1
    assert "JSON is malformed" in listed["first"][0]["reason"]


def test_a_topic_that_is_missing_or_compacted_is_named(project: Project) -> None:
    project.create(cleanup_policy="compact")
    address = project.stack.address("kafka")

    with closing(open_topic(project.topic, address, options={}, environment={})) as topic:
        assert topic.warnings()[0].startswith(f"{project.topic} is compacted: it keeps the last event of each key")
    with pytest.raises(InputError, match=f"there is no topic '{project.topic}x'") as refusal:
        open_topic(project.topic + "x", address, options={}, environment={})

    assert refusal.value.next_step == f"did you mean '{project.topic}'?"
    assert project.topic + "x" not in project.admin.list_topics().topics


@pytest.mark.parametrize("store", ["sqlite", "kafka"])
def test_killed_in_the_middle_and_run_again_it_takes_each_event_once(project: Project, store: str) -> None:
    project.environment["KAPPA_LOG_STORE"] = store
    project.create(partitions=3)
    project.produce(*(event(number) for number in range(COUNT)))
    options = ("ingest", "--from-kafka", project.topic, "--json", "--rate", "5000")
    killed = 0
    for appended in (1, COUNT // 6):
        with project.start(*options) as process:
            eventually(lambda: len(tail(project)) >= appended or process.poll() is not None, timeout_s=60)  # noqa: B023
            process.kill()
        killed += process.returncode == -signal.SIGKILL

    project.kappa("ingest", "--from-kafka", project.topic)

    assert killed
    assert sorted(tail(project)) == sorted(event(number) for number in range(COUNT))


def tail(project: Project) -> list[bytes]:
    """Return the values in the log, wherever it is."""
    if project.environment["KAPPA_LOG_STORE"] == "sqlite":
        with suppress(Exception):  # not yet made
            return project.values()
        return []
    ours = project.environment["KAPPA_KAFKA_TOPIC_PREFIX"] + "events"
    if ours not in project.admin.list_topics(timeout=10).topics:
        return []
    topic = open_topic(ours, project.stack.address("kafka"), options={}, environment={})
    with closing(topic):
        found: list[bytes] = []
        for partition, end in topic.ends().items():
            place = 0
            while place < end:
                batch = topic.read(partition, place, records_max=10_000)
                found += batch.values
                place = batch.next_offset
        return found


def test_events_in_the_wire_format_become_events_whatever_their_schema_is(project: Project) -> None:
    """JSON Schema, Avro and Protobuf in one topic, written by Confluent's own serialisers."""
    project.create()
    message = order_message()
    context = SerializationContext(project.topic, MessageField.VALUE)
    avro = {
        "type": "record",
        "name": "OrderPlaced",
        "fields": [
            {"name": "user_id", "type": "string"},
            {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
    json_schema = f'{{{DRAFT}, "title": "Seen", "type": "object"}}'
    seen = {"user_id": "ana", "timestamp": "2026-03-01T12:00:00Z"}
    with SchemaRegistryClient({"url": project.stack.address("registry")}) as client:
        protobuf = ProtobufSerializer(type(message), client, {"use.deprecated.format": False})
        project.produce(
            JSONSerializer(json_schema, client, conf=subject("json"))(seen, context),
            AvroSerializer(client, json.dumps(avro), conf=subject("avro"))(
                {"user_id": "bob", "timestamp": message.timestamp.ToDatetime()}, context
            ),
            protobuf(message, context),
            b'{"type":"Seen"}',
        )
    write_messages(project.folder / "shop_pb2.py")

    report = project.ingest("--wire", "shop_pb2")

    assert (report["appended"], report["rejected"]) == (3, 1)
    assert report["types"] == {"OrderPlaced": 2, "Seen": 1}
    assert {(each["type"], each["user_id"], each["timestamp"]) for each in map(json.loads, project.values())} == {
        ("Seen", "ana", "2026-03-01T12:00:00Z"),
        ("OrderPlaced", "bob", "2026-03-01T12:00:00Z"),
        ("OrderPlaced", "ana", "2026-03-01T12:00:00Z"),
    }


def subject(kind: str) -> dict[str, object]:
    """Let each format have a subject of its own."""
    return {"subject.name.strategy": lambda context, _: f"{context.topic}-{kind}"}


def write_messages(file: Path) -> None:
    """Write what protoc would."""
    descriptor = protobuf_module().DESCRIPTOR.serialized_pb
    lines = (
        "from google.protobuf import descriptor_pool, timestamp_pb2",
        f"DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({descriptor!r})",
    )
    file.write_text("\n".join(lines) + "\n")


def test_a_file_waits_for_brokers_that_are_down_says_so_once_and_goes_on_unless_it_is_interrupted(
    project: Project,
) -> None:
    project.environment["KAPPA_LOG_STORE"] = "kafka"
    (project.folder / "events.ndjson").write_bytes(b"".join(event(number) + b"\n" for number in range(100)))
    project.stack.kill("kafka-1")
    with project.start("ingest", "events.ndjson") as interrupted:
        reason = said(interrupted)
        interrupted.send_signal(signal.SIGINT)
        _, last_words = interrupted.communicate(timeout=60)
    with project.start("ingest", "events.ndjson") as patient:
        said(patient)
        project.stack.start("kafka-1")
        out, more = patient.communicate(timeout=120)

    assert reason.startswith("could not use Kafka at ")
    assert reason.endswith("; waiting for it, and going on by itself (Ctrl-C ends this)\n")
    assert (interrupted.returncode, last_words.strip()) == (130, "interrupted")
    assert "waiting" not in more
    assert out.startswith("appended  100 events (Seen 100)")


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line on its standard error."""
    assert process.stderr is not None
    return process.stderr.readline()


def test_following_a_topic_takes_what_comes_in_until_it_is_stopped(project: Project) -> None:
    project.create()
    project.produce(event(0))
    with project.start("ingest", "--from-kafka", project.topic, "--follow") as process:
        project.environment["KAPPA_LOG_STORE"] = "sqlite"
        eventually(lambda: tail(project) == [event(0)], what="what was there")
        project.produce(event(1))
        eventually(lambda: sorted(tail(project)) == [event(0), event(1)], what="what came in")
        process.terminate()
        out, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "appended  2 events (Seen 2)" in out
    assert "stopped   at 2 of 2 records: run it again, and it goes on there" in out
