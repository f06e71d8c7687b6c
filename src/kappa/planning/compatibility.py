"""Say whether one JSON Schema reads what was written under another, and whether an event type may change like this.

Pure, without a registry. Two schemas of the same `_schema_version` are compared word by word; between two versions lie
the upcasters, which an event class cannot be declared without, so a newer version reads older ones by construction. A
registry knows nothing of upcasters: it would refuse the change that they are there for. That older versions can read a
newer one is what a class may declare, by `readable_from`, and is then held against their schemas word by word.

Whatever cannot be shown to be compatible is said to be incompatible. One thing is assumed: that nobody has written a
field that his schema does not name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from kappa.model.event_schema import Schema, schema_readable_from, schema_version
from kappa.model.events import READABLE_FROM, SCHEMA_VERSION


class Compatibility(StrEnum):
    """What a change must leave possible, against every schema that was ever registered: a log keeps events for good.

    BACKWARD: the new code reads the old events. FORWARD: the old code, which versions of views go on running, reads
    new events, so `_schema_version` can only rise if the class is `readable_from` all former ones. FULL: both.
    """

    NONE = "none"
    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"


class Incompatibility(msgspec.Struct, frozen=True, order=True):
    """One reason.

    Attributes:
        field: The path of the field, such as `lines[].price`; empty for the event itself.
        rule: The rule that is broken, as docs/schemas.md explains it.
        reason: What is wrong, for people.
    """

    field: str
    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field + ': ' if self.field else ''}{self.reason} ({self.rule})"


class Registered(msgspec.Struct, frozen=True):
    """A schema that was registered, and its number there."""

    number: int
    schema: Schema


class Broken(msgspec.Struct, frozen=True):
    """What a change breaks.

    Attributes:
        direction: `backward` or `forward`.
        number: The number of the registered schema.
        why: The reason.
    """

    direction: Compatibility
    number: int
    why: Incompatibility


class Evolution(msgspec.Struct, frozen=True):
    """The verdict on an event type's schema, given those before it.

    Attributes:
        version: Its `_schema_version`.
        upcast_from: Registered versions that it reads through upcasters.
        broken: Why it is incompatible; empty if it is not.
    """

    version: int
    upcast_from: tuple[int, ...]
    broken: tuple[Broken, ...]


def judge(new: Schema, registered: Sequence[Registered], level: Compatibility) -> Evolution:
    """Compare an event type's schema with all that are registered for it."""
    version, readable_from = schema_version(new), schema_readable_from(new)
    broken: list[Broken] = []
    older: set[int] = set()
    for each in registered:
        before = schema_version(each.schema)
        if level in (Compatibility.BACKWARD, Compatibility.FULL):
            if before < version:
                older.add(before)
            else:
                whys = _lowered(before, version) or _compared(new, each.schema)
                broken += [Broken(Compatibility.BACKWARD, each.number, why) for why in whys]
        if level is Compatibility.NONE or before > version:
            continue
        declared = readable_from <= before < version
        if declared or level in (Compatibility.FORWARD, Compatibility.FULL):
            whys = _compared(each.schema, new) if declared or before == version else (_raised(before, version),)
            broken += [Broken(Compatibility.FORWARD, each.number, why) for why in whys]
    return Evolution(version, tuple(sorted(older)), tuple(broken))


def _lowered(before: int, version: int) -> tuple[Incompatibility, ...]:
    if before <= version:
        return ()
    reason = f"version {before} is registered, and this code reads up to {version}"
    return (Incompatibility(SCHEMA_VERSION, "version-lowered", reason),)


def _raised(before: int, version: int) -> Incompatibility:
    reason = f"code at version {before} cannot read version {version}, which is not declared readable from there"
    return Incompatibility(SCHEMA_VERSION, "version-raised", reason)


def _compared(reader: Schema, writer: Schema) -> tuple[Incompatibility, ...]:
    """Compare two schemas of one version, or a newer one with one whose code is said to read it."""
    ignored = {READABLE_FROM} if schema_version(reader) == schema_version(writer) else {READABLE_FROM, SCHEMA_VERSION}
    return unreadable(_without(reader, ignored), _without(writer, ignored))


def _without(schema: Schema, names: set[str]) -> Schema:
    properties = {name: each for name, each in schema.get("properties", {}).items() if name not in names}
    required = [name for name in schema.get("required", ()) if name not in names]
    return {**schema, "properties": properties, "required": required}


def unreadable(reader: Schema, writer: Schema) -> tuple[Incompatibility, ...]:
    """Return why something written under `writer` might not be read under `reader`; nothing if everything can be.

    >>> text = {"type": "string"}
    >>> before = {"type": "object", "properties": {"id": text}, "required": ["id"]}
    >>> after = {"type": "object", "properties": {"id": text, "city": text}, "required": ["id", "city"]}
    >>> [str(why) for why in unreadable(after, before)]
    ['city: is required, and was not (required-added)']
    >>> unreadable(before, after)
    ()
    """
    return tuple(sorted(set(_Comparison(reader, writer).at("", reader, writer))))


_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "default", "examples", "$comment", "deprecated"}
# Limits -> whether a greater number allows less.
_LIMITS = {
    "minimum": True,
    "exclusiveMinimum": True,
    "minLength": True,
    "minItems": True,
    "minProperties": True,
    "maximum": False,
    "exclusiveMaximum": False,
    "maxLength": False,
    "maxItems": False,
    "maxProperties": False,
}
_COMPARED = {"$ref", "type", "properties", "required", "enum", "const", "anyOf", "items", "additionalProperties"}
_JSON_TYPES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    list: "array",
    dict: "object",
}


class _Comparison:
    """One comparison of two schemas; it knows their definitions, and which of those are being compared already."""

    def __init__(self, reader: Schema, writer: Schema) -> None:
        self._reader, self._writer = reader, writer
        self._under_way: set[tuple[str, str]] = set()

    def at(self, path: str, reader: Schema | bool, writer: Schema | bool) -> Iterator[Incompatibility]:
        """Yield why what `writer` allows at `path` is not all allowed by `reader`."""
        if writer is False or reader is True or reader == {}:
            return
        if reader is False:
            yield Incompatibility(path, "field-forbidden", "is not allowed any more, and was")
            return
        written: Schema = {} if writer is True else writer
        names = str(reader.get("$ref", "")), str(written.get("$ref", ""))
        if all(names):
            if names in self._under_way:  # a definition that holds itself
                return
            self._under_way.add(names)
        yield from self._resolved(path, _resolve(reader, self._reader), _resolve(written, self._writer))
        self._under_way.discard(names)

    def _resolved(self, path: str, reader: Schema, writer: Schema) -> Iterator[Incompatibility]:
        if "anyOf" in writer:
            for each in writer["anyOf"]:
                yield from self.at(path, reader, each)
        elif "anyOf" in reader:
            if not any(not list(self.at(path, each, writer)) for each in reader["anyOf"]):
                yield Incompatibility(path, "type-narrowed", f"was {shape(writer)}, and may only be {shape(reader)}")
        elif narrowed := list(_values(path, reader, writer)):
            yield from narrowed
        else:
            yield from _limits(path, reader, writer)
            yield from self._fields(path, reader, writer)
            yield from self._items(path, reader, writer)

    def _fields(self, path: str, reader: Schema, writer: Schema) -> Iterator[Incompatibility]:
        if "object" not in _types(writer):
            return
        before, after = writer.get("properties", {}), reader.get("properties", {})
        for name in sorted(set(reader.get("required", ())) - set(writer.get("required", ()))):
            yield Incompatibility(_join(path, name), "required-added", "is required, and was not")
        for name in sorted(before.keys() & after.keys()):
            yield from self.at(_join(path, name), after[name], before[name])
        others = reader.get("additionalProperties", True)
        for name in sorted(before.keys() - after.keys()):
            yield from self.at(_join(path, name), others, before[name])
        # Of an open schema it is assumed that nobody wrote what it does not name; a dict's values are named so.
        if others is not True and (written := writer.get("additionalProperties")) is not None:
            yield from self.at(_join(path, "*"), others, written)
        elif others is not True and not before:
            yield from self.at(_join(path, "*"), others, True)

    def _items(self, path: str, reader: Schema, writer: Schema) -> Iterator[Incompatibility]:
        if "array" not in _types(writer):
            return
        if reader.get("prefixItems") != writer.get("prefixItems"):
            yield Incompatibility(path, "items-changed", "has other items than before")
        yield from self.at(f"{path}[]", reader.get("items", True), writer.get("items", True))


def _resolve(schema: Schema, root: Schema) -> Schema:
    while isinstance(name := schema.get("$ref"), str):
        schema = root.get("$defs", {}).get(name.rpartition("/")[2], {"$unknown": name})
    return schema


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _types(schema: Schema) -> set[str]:
    """Return the JSON types of a schema's values, `integer` apart from `number`; all of them if it names none."""
    if (values := _listed(schema)) is not None:
        return {_JSON_TYPES[type(value)] for value in values}
    named = schema.get("type", tuple(_JSON_TYPES.values()))
    types = {named} if isinstance(named, str) else set(named)
    return types | {"integer"} if "number" in types else types


def _listed(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def shape(schema: Schema) -> str:
    """Return what a schema allows, in a few words.

    >>> shape({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}), shape({"enum": ["a", "b"]})
    ('string (date) or null', '"a" or "b"')
    """
    if "anyOf" in schema:
        return " or ".join(shape(each) for each in schema["anyOf"])
    if (values := _listed(schema)) is not None:
        return " or ".join(msgspec.json.encode(value).decode() for value in values)
    if isinstance(name := schema.get("$ref"), str):
        return name.rpartition("/")[2]
    named = schema.get("type", "anything")
    text = named if isinstance(named, str) else " or ".join(named)
    return f"{text} ({schema['format']})" if "format" in schema else text


def _values(path: str, reader: Schema, writer: Schema) -> Iterator[Incompatibility]:
    """Yield why values of the writer are none of the reader's, by their types or one by one."""
    allowed, written = _listed(reader), _listed(writer)
    if allowed is not None:
        if written is None:
            yield Incompatibility(path, "values-narrowed", f"was {shape(writer)}, and may only be {shape(reader)}")
        elif gone := [value for value in written if value not in allowed]:
            yield Incompatibility(path, "values-narrowed", f"may not be {shape({'enum': gone})} any more")
    elif _types(writer) - _types(reader):
        yield Incompatibility(path, "type-narrowed", f"was {shape(writer)}, and may only be {shape(reader)}")


def _limits(path: str, reader: Schema, writer: Schema) -> Iterator[Incompatibility]:
    for word in sorted(reader.keys() - _ANNOTATIONS - _COMPARED):
        after, before = reader[word], writer.get(word)
        if word in _LIMITS:
            narrower = before is None or (after > before if _LIMITS[word] else after < before)
        else:  # format, pattern, multipleOf, and words that nothing here knows
            narrower = after != before
        # A single value of the writer is checked by nobody against limits: let it count as within.
        if narrower and word != "prefixItems" and _listed(writer) is None and _applies(word, writer):
            was = "had none" if before is None else f"was {before}"
            yield Incompatibility(path, "limit-narrowed", f"has {word} {after}, which {was}")


def _applies(word: str, writer: Schema) -> bool:
    """Say whether a word limits any value that is written: `format` means nothing for a number."""
    of_text = {"format", "pattern", "minLength", "maxLength"}
    return word not in of_text or "string" in _types(writer)


def changed_fields(before: Schema, after: Schema) -> tuple[str, ...]:
    """Return how an event's own fields differ, one line each, for people.

    >>> changed_fields({"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "integer"}}})
    ('- a: string', '+ b: integer')
    """
    old, new = before.get("properties", {}), after.get("properties", {})
    lines = [f"- {name}: {_described(before, name)}" for name in old if name not in new]
    lines += [f"+ {name}: {_described(after, name)}" for name in new if name not in old]
    lines += [
        f"~ {name}: {_described(before, name)} -> {_described(after, name)}"
        for name in new
        if name in old and (old[name] != new[name] or _required(before, name) != _required(after, name))
    ]
    if not lines and before.get("$defs") != after.get("$defs"):
        lines = ["~ something inside of a field"]
    return tuple(lines)


def _described(schema: Schema, name: str) -> str:
    field = schema["properties"][name]
    return shape(field) + (f" = {msgspec.json.encode(field['default']).decode()}" if "default" in field else "")


def _required(schema: Schema, name: str) -> bool:
    return name in schema.get("required", ())
