"""Values that Confluent's own serialisers wrote are read as events, in all three formats, with a real registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, timestamp_pb2
from google.protobuf.message_factory import GetMessageClass

from kappa.adapters.registry.wire import ConfluentWire
from kappa.control.ingest.envelope import EventReader, NotAnEvent
from kappa.control.ingest.mapping import OffTheWire
from kappa.errors import StoreUnavailable
from kappa.ports.registry import UnreadableValue

# A registry that is not told the kind of a schema, as Apicurio is by this client's requests, looks for this word.
DRAFT = '"$schema": "http://json-schema.org/draft-07/schema#"'
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROTO = """\
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
// message Commented { string out = 1; }
message Money { string currency = 1; int64 cents = 2; }
message OrderPlaced {
  enum Channel { WEB = 0; SHOP = 1; }
  string user_id = 1;
  Money amount = 2;
  google.protobuf.Timestamp timestamp = 3;
  repeated string coupons = 4;
  map<string, int32> counts = 5;
  Channel channel = 6;
  bytes token = 7;
}
"""


@pytest.fixture
def client(registry_server) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry_server.url}) as client:
        yield client


@pytest.fixture
def context() -> SerializationContext:
    return SerializationContext(f"orders-{uuid4()}", MessageField.VALUE)


@pytest.fixture
def read(registry_server) -> Iterator[Callable[[bytes], Any]]:
    with closing(ConfluentWire(registry_server.url, messages=protobuf_module())) as wire:
        yield lambda value: json.loads(wire.read(value), parse_float=Decimal)


def protobuf_module() -> ModuleType:
    """Return what protoc would make of `PROTO`."""
    field = descriptor_pb2.FieldDescriptorProto
    pool = descriptor_pool.DescriptorPool()
    times = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(times)
    pool.Add(times)
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    money = file.message_type.add(name="Money")
    money.field.add(name="currency", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    money.field.add(name="cents", number=2, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    order = file.message_type.add(name="OrderPlaced")
    channel = order.enum_type.add(name="Channel")
    channel.value.add(name="WEB", number=0)
    channel.value.add(name="SHOP", number=1)
    entry = order.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    kinds = [
        ("user_id", field.TYPE_STRING, field.LABEL_OPTIONAL, ""),
        ("amount", field.TYPE_MESSAGE, field.LABEL_OPTIONAL, ".shop.Money"),
        ("timestamp", field.TYPE_MESSAGE, field.LABEL_OPTIONAL, ".google.protobuf.Timestamp"),
        ("coupons", field.TYPE_STRING, field.LABEL_REPEATED, ""),
        ("counts", field.TYPE_MESSAGE, field.LABEL_REPEATED, ".shop.OrderPlaced.CountsEntry"),
        ("channel", field.TYPE_ENUM, field.LABEL_OPTIONAL, ".shop.OrderPlaced.Channel"),
        ("token", field.TYPE_BYTES, field.LABEL_OPTIONAL, ""),
    ]
    for number, (name, kind, label, type_name) in enumerate(kinds, 1):
        order.field.add(name=name, number=number, type=kind, label=label, type_name=type_name or None)
    pool.Add(file)
    module = ModuleType("shop_pb2")
    module.DESCRIPTOR = pool.FindFileByName("shop.proto")
    return module


def order_message() -> Any:
    order = GetMessageClass(protobuf_module().DESCRIPTOR.message_types_by_name["OrderPlaced"])()
    order.user_id, order.channel, order.token = "ana", 1, b"\xff"
    order.amount.cents = 2**60
    order.timestamp.FromDatetime(AT)
    order.coupons.append("SPRING")
    order.counts["books"] = 2
    return order


ORDER = {
    "type": "OrderPlaced",
    "user_id": "ana",
    "amount": {"currency": "", "cents": 2**60},
    "timestamp": "2026-03-01T12:00:00Z",
    "coupons": ["SPRING"],
    "counts": {"books": 2},
    "channel": "SHOP",
    "token": "/w==",
}


def test_json_keeps_its_bytes(client, context, registry_server):
    schema = f'{{{DRAFT}, "title": "OrderPlaced", "type": "object", "required": ["user_id"]}}'
    event = {"type": "OrderPlaced", "user_id": "ana", "amount": 0.1, "timestamp": "2026-03-01T12:00:00Z"}
    value = JSONSerializer(schema, client)(event, context)

    with closing(ConfluentWire(registry_server.url)) as wire:
        assert wire.read(value) == value[5:]


def test_json_without_a_type_gets_the_title_of_its_schema(client, context, read):
    value = JSONSerializer(f'{{{DRAFT}, "title": "Seen", "type": "object"}}', client)({"user_id": "ana"}, context)

    assert read(value[:5] + b'{"n": 12345678901234567890.1}') == {
        "type": "Seen",
        "n": Decimal("12345678901234567890.1"),
    }


def test_json_that_is_not_as_its_schema_says_is_rejected(client, context, read):
    value = JSONSerializer(f'{{{DRAFT}, "type": "object", "required": ["user_id"]}}', client)(
        {"user_id": "ana"}, context
    )

    with pytest.raises(UnreadableValue, match="Expected what its schema says: 'user_id' is a required property"):
        read(value[:5] + b'{"n":1}')


def test_avro_is_read_with_its_times_and_decimals(client, context, read):
    schema = {
        "type": "record",
        "name": "OrderPlaced",
        "namespace": "shop",
        "fields": [
            {"name": "user_id", "type": "string"},
            {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "coupon", "type": ["null", "string"], "default": None},
        ],
    }
    order = {"user_id": "ana", "amount": Decimal("9.90"), "timestamp": AT, "coupon": None}

    value = AvroSerializer(client, json.dumps(schema))(order, context)

    assert read(value) == {
        "type": "OrderPlaced",
        "user_id": "ana",
        "amount": "9.90",
        "timestamp": "2026-03-01T12:00:00Z",
        "coupon": None,
    }


def test_protobuf_is_read_by_the_classes_that_protoc_made(client, context, read):
    schema_id = client.register_schema(f"{context.topic}-value", Schema(PROTO, "PROTOBUF"))
    # The path to the second message: one step, number 1, as zigzag varints.
    value = b"\0" + schema_id.to_bytes(4) + b"\x02\x02" + order_message().SerializeToString()

    assert read(value) == ORDER


def test_protobuf_of_pythons_own_serialiser_is_read(client, context, read):
    """It registers the compiled form of the .proto file, not its text."""
    order = order_message()
    value = ProtobufSerializer(type(order), client, {"use.deprecated.format": False})(order, context)

    assert read(value) == ORDER


def test_a_protobuf_message_without_a_class_is_rejected_by_its_name(client, context, registry_server):
    schema_id = client.register_schema(f"{context.topic}-value", Schema(PROTO, "PROTOBUF"))
    value = b"\0" + schema_id.to_bytes(4) + b"\0"

    with closing(ConfluentWire(registry_server.url)) as wire, pytest.raises(UnreadableValue) as rejected:
        wire.read(value)

    assert str(rejected.value) == "shop.Money is a Protobuf message: name the module that protoc made of it"


@pytest.mark.parametrize("value", [b"", b"\0\0", b'{"type":"Seen"}', b"\1\0\0\0\1x"])
def test_what_is_not_in_the_wire_format_is_rejected(read, value):
    with pytest.raises(UnreadableValue, match="Expected a zero byte and a schema's id"):
        read(value)


def test_an_id_that_nobody_registered_is_rejected(read):
    with pytest.raises(UnreadableValue, match="Expected the id of a registered schema, got 4294967295"):
        read(b"\0\xff\xff\xff\xff{}")


def test_schemas_seen_before_serve_while_the_registry_is_away(client, context, read, registry_server, monkeypatch):
    monkeypatch.setattr("kappa.adapters.registry.client._TIMEOUT_S", 0.2)
    value = JSONSerializer(f'{{{DRAFT}, "title": "Seen", "type": "object"}}', client)({"n": 1}, context)
    read(value)

    with registry_server.stopped(), closing(ConfluentWire(registry_server.url)) as another:
        assert read(value) == {"type": "Seen", "n": 1}
        with pytest.raises(StoreUnavailable) as failure:
            another.read(value)

    assert failure.value.retryable


def test_ingestion_takes_events_off_the_wire_and_rejects_with_the_reason(client, context, registry_server):
    event = {"type": "Seen", "user_id": "ana", "timestamp": "2026-03-01T12:00:00Z"}
    value = JSONSerializer(f'{{{DRAFT}, "type": "object"}}', client)(event, context)
    with closing(ConfluentWire(registry_server.url)) as wire:
        mapping = OffTheWire(wire, "")

        ((kind, record),) = mapping.events(value, EventReader("user_id"))

        assert (kind, record.key, record.value) == ("Seen", b"ana", value[5:])
        with pytest.raises(NotAnEvent, match="Expected a zero byte"):
            mapping.events(value[5:], EventReader("user_id"))
