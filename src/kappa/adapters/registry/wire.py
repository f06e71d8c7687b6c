"""Read the wire format of Confluent's clients, by their own deserialisers: JSON Schema, Avro and Protobuf.

A JSON payload is checked against its schema and stays, byte for byte. Avro needs the schema alone. Of Protobuf the
registry may know nothing but the text of the .proto file, of which only protoc makes a decoder: the classes that it
made are named by whoever reads. The message's name in that text, not its place, decides which class reads it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

import msgspec
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.common.serde import SchemaId
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import SerializationError
from google.protobuf.message_factory import GetMessageClass

from kappa.adapters.registry.client import SCHEMA_NOT_FOUND, connect, registry_errors
from kappa.adapters.registry.proto import message_fields, message_name
from kappa.ports.registry import UnreadableValue

_MAGIC = 0
_HEADER_BYTES = 5
# Deserialisers that are kept: one per schema, or per Protobuf message.
_SCHEMAS_MAX = 1_000

# The subject does not matter: the id in a value says by which schema it was written. The default would ask for one.
_NO_SUBJECT = {"subject.name.strategy": lambda _context, _name: None}

_Read = Callable[[bytes], bytes]


class ConfluentWire:
    """Reads values by the schemas of one registry, each asked for once. Not for use by two threads."""

    def __init__(self, url: str, credentials: str = "", *, messages: ModuleType | None = None) -> None:
        """Prepare to read; nothing is asked yet.

        Args:
            url: Of the registry.
            credentials: USER:PASSWORD, or empty.
            messages: A module that protoc made, for Protobuf; it may import others.
        """
        self._url, self._messages = url, messages
        self._client = connect(url, credentials)
        self._reader = lru_cache(_SCHEMAS_MAX)(self._make_reader)
        self._message_class = lru_cache(_SCHEMAS_MAX)(self._find_message_class)

    def read(self, value: bytes) -> bytes:
        """Return the JSON object that a value stands for; see `ports.registry.WireReader`."""
        if len(value) < _HEADER_BYTES or value[0] != _MAGIC:
            raise UnreadableValue(f"Expected a zero byte and a schema's id, got {value[:_HEADER_BYTES]!r}")
        reader = self._reader(int.from_bytes(value[1:_HEADER_BYTES]))
        try:
            return reader(value)
        except UnreadableValue:
            raise
        except (SerializationError, ValueError, TypeError, LookupError, EOFError, RecursionError) as error:
            raise UnreadableValue(f"Expected what its schema says: {str(error) or type(error).__name__}") from error

    def close(self) -> None:
        """Release connections. Idempotent."""
        self._client.close()

    def _make_reader(self, schema_id: int) -> _Read:
        with registry_errors(self._url):
            try:
                found = self._client.get_schema(schema_id)
            except SchemaRegistryError as error:
                if error.error_code != SCHEMA_NOT_FOUND:
                    raise
                raise UnreadableValue(f"Expected the id of a registered schema, got {schema_id}") from error
        text = found.schema_str or ""
        match found.schema_type:
            case "JSON":
                return self._json_reader(text)
            case "AVRO":
                return self._avro_reader(text)
            case "PROTOBUF":
                return lambda value: self._read_protobuf(value, text)
            case other:
                raise UnreadableValue(f"Expected a schema of kind JSON, AVRO or PROTOBUF, got {other}")

    def _json_reader(self, text: str) -> _Read:
        check = JSONDeserializer(text, conf=_NO_SUBJECT)
        title = msgspec.json.decode(text).get("title")

        def read(value: bytes) -> bytes:
            fields = check(value)
            if not isinstance(fields, dict):
                raise UnreadableValue(f"Expected a JSON object, got {type(fields).__name__}")
            payload = value[_HEADER_BYTES:]
            return payload if "type" in fields or not title else _with_type(payload, title)

        return read

    def _avro_reader(self, text: str) -> _Read:
        decode = AvroDeserializer(self._client, conf=_NO_SUBJECT)
        name = msgspec.json.decode(text).get("name", "")

        def read(value: bytes) -> bytes:
            with registry_errors(self._url):  # it asks for schemas that this one refers to
                fields = decode(value)
            return _encode(fields, name)

        return read

    def _read_protobuf(self, value: bytes, text: str) -> bytes:
        header = SchemaId("PROTOBUF")
        header.from_bytes(io.BytesIO(value))
        name = message_name(text, header.message_indexes or [0])
        if name is None:
            raise UnreadableValue(f"Expected a message of its schema, got number {header.message_indexes}")
        # Without a registry, which it would ask for the schema in a form that not every registry has.
        message = ProtobufDeserializer(self._message_class(name), _NO_SUBJECT)(value)
        return _encode(message_fields(message), name.rpartition(".")[2])

    def _find_message_class(self, name: str) -> Any:
        if self._messages is None:
            raise UnreadableValue(f"{name} is a Protobuf message: name the module that protoc made of it")
        try:
            return GetMessageClass(self._messages.DESCRIPTOR.pool.FindMessageTypeByName(name))
        except (KeyError, AttributeError) as error:
            module = self._messages.__name__
            raise UnreadableValue(f"Expected a message of module '{module}', got {name}") from error


def _with_type(payload: bytes, name: str) -> bytes:
    """Put `type` before the other fields, whose bytes stay."""
    fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({"type": name, **fields})


def _encode(fields: Any, name: str) -> bytes:
    """Return fields as JSON: times in RFC 3339, decimals and UUIDs as text, bytes in Base64."""
    if not isinstance(fields, Mapping):
        raise UnreadableValue(f"Expected a record, got {type(fields).__name__}")
    return msgspec.json.encode({"type": name, **fields})
