"""Find the key of a record in a log that is partitioned by other fields. Pure; it says nothing about copying.

It looks at the fields themselves, whatever the event's type, so that a repartitioned log already holds the events of a
type that a later version of the project declares.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from kappa.model.decoding import Rejected, json_object, upcast
from kappa.model.events import SCHEMA_VERSION, Event, event_spec
from kappa.model.schema import encode_key
from kappa.model.types import INT_MAX, INT_MIN, field_type

_KeyPart = str | int


class Rekeying:
    """Computes record keys from the values of events.

    >>> class PageView(Event):
    ...     user_id: str
    ...     page: str
    >>> by_page = Rekeying(("page",), [PageView])
    >>> by_page.key_of(b'{"type":"PageView","user_id":"ana","page":"/cart"}')
    b'/cart'
    >>> by_page.key_of(b'{"type":"Tick"}') is None
    True
    """

    def __init__(self, fields: tuple[str, ...], events: Collection[type[Event]]) -> None:
        """Prepare to key by `fields`; `events` are all event types of the project."""
        self._fields = fields
        self._specs = {event_spec(event).name: event_spec(event) for event in events}
        # Types that declare all key fields must have them.
        self._key_types = {
            name: {field: (field_type(spec.hints[field]).base,) for field in fields}
            for name, spec in self._specs.items()
            if set(fields) <= set(spec.hints)
        }
        wire = msgspec.defstruct(
            "Key",
            [
                ("type", str),
                (SCHEMA_VERSION, int, 1),
                *((f"k{index}", _KeyPart, msgspec.field(name=name)) for index, name in enumerate(fields)),
            ],
            kw_only=True,
            frozen=True,
            gc=False,
        )
        self._decode = msgspec.json.Decoder(wire).decode
        self._parts = [f"k{index}" for index in range(len(fields))]

    def key_of(self, value: bytes) -> bytes | None:
        """Return the key of an event, or None if it has no such key and need not have one.

        Raises:
            Rejected: It is no event, or one whose type declares the key but which lacks it.
        """
        try:
            event: Any = self._decode(value)
        except (ValueError, RecursionError):
            return self._find(value)
        spec = self._specs.get(event.type)
        if spec is not None and getattr(event, SCHEMA_VERSION) != spec.version:
            return self._find(value)
        return self._key(event.type, tuple(getattr(event, part) for part in self._parts))

    def _find(self, value: bytes) -> bytes | None:
        """Take the slow road: upcast, or say what is missing."""
        fields = json_object(value)
        kind = fields.get("type")
        if not isinstance(kind, str):
            raise Rejected("no event type: expected text in `type`")
        if (spec := self._specs.get(kind)) is not None:
            fields = upcast(spec, fields)
        return self._key(kind, tuple(fields.get(name) for name in self._fields))

    def _key(self, kind: str, parts: tuple[Any, ...]) -> bytes | None:
        for name, part in zip(self._fields, parts, strict=True):
            wanted = self._key_types[kind][name] if kind in self._key_types else (str, int)
            if type(part) in wanted and not (isinstance(part, int) and not INT_MIN <= part <= INT_MAX):
                continue
            if kind not in self._key_types:
                return None
            types = " or ".join(f"`{each.__name__}`" for each in wanted)
            raise Rejected(f"{kind}: expected {types} in the key field `{name}`, got {str(part)[:80]}")
        return encode_key(parts)
