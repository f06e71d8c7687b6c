"""Protobuf messages as JSON values, and the names of messages in the text of a .proto file.

Numbers stay numbers, however large, and decimals of a message stay what they are; Protobuf's own JSON makes text of
64-bit integers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

# What a scan for messages must pass over, and what it looks for.
_TOKENS = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|(?P<word>[\w.]+)|(?P<mark>[{};])', re.DOTALL
)
_PACKAGE, _MESSAGE = "package", "message"


def message_name(schema: str, path: Sequence[int]) -> str | None:
    """Return the full name of a message in a registered .proto file, by its place among its siblings; None if absent.

    Java registers the file's text, Python its compiled form in Base64.
    """
    if not schema.isascii() or any(character in schema for character in "{;"):
        return _name_in_text(schema, path)

    try:
        file = FileDescriptorProto.FromString(base64.b64decode(schema, validate=True))
    except (ValueError, DecodeError):
        return None
    names, siblings = [file.package], file.message_type
    for number in path:
        if number >= len(siblings):
            return None
        names.append(siblings[number].name)
        siblings = siblings[number].nested_type
    return ".".join(filter(None, names))


def _name_in_text(text: str, path: Sequence[int]) -> str | None:
    """Return the full name of a message in the text of a .proto file, by its place among its siblings; None if absent.

    >>> text = 'package shop; message A { message B { string message = 1; } } message C {} // message D {}'
    >>> _name_in_text(text, [0, 0]), _name_in_text(text, [1]), _name_in_text(text, [2])
    ('shop.A.B', 'shop.C', None)
    """
    package, words = "", []
    counts, place, names = [0], list[int](), list[str]()
    blocks: list[bool] = []  # of each open block, whether it is a message
    for token in _TOKENS.finditer(text):
        if word := token["word"]:
            words.append(word)
            continue
        match token["mark"]:
            case "{":
                message = words[:1] == [_MESSAGE] and len(words) > 1 and all(blocks)
                blocks.append(message)
                if message:
                    names.append(words[1])
                    place.append(counts[-1])
                    counts[-1] += 1
                    counts.append(0)
                    if place == list(path):
                        return ".".join(filter(None, (package, *names)))
            case "}" if blocks:
                if blocks.pop():
                    counts.pop(), names.pop(), place.pop()
            case ";" if words[:1] == [_PACKAGE] and not blocks:
                package = words[1]
            case None:
                continue
        words.clear()
    return None


def message_fields(message: Any) -> dict[str, Any]:
    """Return a message's fields by their names in the .proto file; one that was not set and can tell so is left out."""
    return {
        field.name: _field(getattr(message, field.name), field)
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field(value: Any, field: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {str(key): _value(value[key], inner) for key in value}
    if _is_repeated(field):
        return [_value(each, field) for each in value]
    return _value(value, field)


def _is_repeated(field: Any) -> bool:
    # Protobuf 5, which Flink asks for, has only the label; later versions warn of it.
    repeated: bool = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    return repeated


def _value(value: Any, field: Any) -> Any:
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return value if named is None else named.name
    if field.message_type is None:
        return value
    if field.message_type.full_name.startswith("google.protobuf."):
        return MessageToDict(value)  # times as RFC 3339 text, durations, wrapped values, any JSON
    return message_fields(value)
