"""The JSON Schema of an event type: what its class accepts on the wire, for those who write events without this code.

Pure. A schema is open: fields that it does not name are allowed, as the kernel reads past them. It holds no docstring,
so that a better explanation is no new version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kappa.model.decoding import wire_struct
from kappa.model.events import READABLE_FROM, SCHEMA_VERSION, Event, event_spec

Schema = Mapping[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAMED = ("properties", "$defs", "patternProperties")  # what is in these is named by people, not by JSON Schema


def event_schema(event: type[Event]) -> dict[str, Any]:
    """Return the JSON Schema of an event type's current version.

    >>> class Seen(Event, version=2):
    ...     user_id: str
    ...
    ...     @classmethod
    ...     def upcast_1(cls, old: dict) -> dict:
    ...         return old
    >>> schema = event_schema(Seen)
    >>> schema["properties"]["type"], schema["properties"]["_schema_version"], schema["required"]
    ({'const': 'Seen'}, {'const': 2}, ['type', 'timestamp', 'user_id', '_schema_version'])
    """
    spec = event_spec(event)
    whole = _plain(msgspec.json.schema(wire_struct(event)))
    definitions = whole.pop("$defs")
    root: dict[str, Any] = definitions.pop(whole["$ref"].rpartition("/")[2])
    properties, required = dict(root["properties"]), list(root["required"])
    properties["type"] = {"const": spec.name}
    properties[SCHEMA_VERSION] = {"const": spec.version}
    if spec.version > 1:  # an event that names no version is of the first
        required.append(SCHEMA_VERSION)
    if spec.readable_from < spec.version:
        properties[READABLE_FROM] = {"const": spec.readable_from}
        required.append(READABLE_FROM)
    schema = {"$schema": DIALECT, **root, "properties": properties, "required": required}
    return schema | ({"$defs": definitions} if definitions else {})


def schema_version(schema: Schema) -> int:
    """Return the `_schema_version` of the events that a schema describes."""
    return _version(schema, SCHEMA_VERSION) or 1


def schema_readable_from(schema: Schema) -> int:
    """Return the oldest version whose code reads the events that a schema describes."""
    return _version(schema, READABLE_FROM) or schema_version(schema)


def _version(schema: Schema, name: str) -> int | None:
    version = schema.get("properties", {}).get(name, {}).get("const")
    return version if type(version) is int else None


def _plain(schema: Any) -> Any:
    """Return a schema without explanations, in which a decimal may be a number, as the decoder allows."""
    match schema:
        case {"type": "string", "format": "decimal"}:
            return dict(_kept(schema)) | {"type": ["string", "number"]}
        case Mapping():
            return dict(_kept(schema))
        case list():
            return [_plain(each) for each in schema]
        case _:
            return schema


def _kept(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for word, value in schema.items():
        if word in _NAMED:
            yield word, {name: _plain(inner) for name, inner in value.items()}
        elif word in ("enum", "const", "default"):
            yield word, value
        elif word not in ("description", "examples"):
            yield word, _plain(value)
