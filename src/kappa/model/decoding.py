"""Read events from bytes for one view: only the fields it uses, older versions through their upcasters.

The fast road is one typed decoder. What it refuses takes the slow road, which finds out why: an event of an older
version, of a type that concerns nobody, or a bad record, for which `Rejected` says what was expected and found.
"""

from __future__ import annotations

import decimal
import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from kappa.model.events import READABLE_FROM, SCHEMA_VERSION, Event, EventSpec, event_spec
from kappa.model.expressions import fields_of
from kappa.model.types import INT_MAX, field_type
from kappa.model.values import FRESH, Rejected, raised, refuse_flaws, shown
from kappa.model.views import ViewSpec

__all__ = ["Decoding", "Rejected", "in_utc", "in_utc_throughout", "json_object", "upcast"]

# JSON nested more deeply than this is refused. Decoders give up at a depth that differs between versions of Python and
# with the depth of the stack; this limit does not.
NESTING_MAX = 200
# Only a record of this size can be nested more deeply.
DEEP_BYTES_MIN = 2 * NESTING_MAX

_to_msgpack = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder(decimal_format="number").encode
# Upcasters see JSON's decimals as Decimal, so that an amount of 1.10 stays 1.10.
_from_json = msgspec.json.Decoder(float_hook=Decimal).decode
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_PARENTHESES = bytes.maketrans(b"[]{}", b"()()")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """What must be known of any event to decide how to read it, if at all."""

    type: str
    version: Any = msgspec.field(default=1, name=SCHEMA_VERSION)
    readable_from: Any = msgspec.field(default=None, name=READABLE_FROM)


class Decoding:
    """Decodes the events of one view.

    Attributes:
        wire: Event class -> the struct that its records are decoded into: one with just the fields that folds and
            handlers read, or a subclass of the event where a handler may do anything with it.
    """

    def __init__(self, view: ViewSpec, events: Collection[type[Event]]) -> None:
        """Build decoders for `view` in a project of `events`; those the view does not fold are read past."""
        self.wire: dict[type[Event], type[msgspec.Struct]] = {
            event: wire_struct(event) if (names := _names_read(event, view)) is None else _slim(event, names)
            for event in view.events
        }
        known = {event_spec(event).name for event in self.wire}
        others = sorted({event_spec(event).name for event in events} - known)
        passed_over = [msgspec.defstruct(name, [], tag=name, tag_field="type", frozen=True) for name in others]
        union = reduce(or_, [*self.wire.values(), *passed_over])
        self.decode = msgspec.json.Decoder(union).decode
        self._specs = {event_spec(event).name: event_spec(event) for event in self.wire}
        self._envelope = msgspec.json.Decoder(_Envelope).decode

    def by_frequency(self, sample: Collection[bytes]) -> list[type[Event]]:
        """Return the event types that it decodes, those that are most frequent in a sample of records first."""
        counts: Counter[str] = Counter()
        for value in sample:
            with suppress(ValueError, RecursionError):
                counts[self._envelope(value).type] += 1
        return sorted(self.wire, key=lambda event: -counts[event_spec(event).name])

    def recover(self, value: bytes) -> Any:
        """Return the event of a record that the fast road refused, or None if it concerns nobody.

        Raises:
            Rejected: The record is bad.
        """
        try:
            envelope = self._envelope(value)
        except (ValueError, RecursionError):
            raise Rejected(f"no event type: expected text in `type`{_found(json_object(value), 'type')}") from None
        if (spec := self._specs.get(envelope.type)) is None:
            return None
        if _reads(spec, envelope.version, envelope.readable_from):
            fields, upcasted = None, ""
        else:
            fields, upcasted = upcast(spec, json_object(value)), f" after upcasting from version {envelope.version}"
        try:
            # A record that needs no upcaster is decoded from its own bytes, so that the reason speaks of them.
            return self.decode(value if fields is None else _to_json(fields))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Rejected(f"{spec.name}{upcasted}: {error}") from None


def nested_too_deeply(value: bytes) -> bool:
    """Say whether JSON is nested more than `NESTING_MAX` deep. Only worth asking from `DEEP_BYTES_MIN` on.

    >>> nested_too_deeply(b"[" * 200 + b"]" * 200), nested_too_deeply(b"[" * 201 + b"]" * 201)
    (False, True)
    """
    if value.count(b"[") + value.count(b"{") <= NESTING_MAX:
        return False
    brackets = _TEXTS.sub(b"", value).translate(None, _NO_BRACKETS).translate(_PARENTHESES)
    for _ in range(NESTING_MAX):
        brackets = brackets.replace(b"()", b"")
    # What is left was never closed, or lies deeper.
    return b"()" in brackets or brackets.count(b"(") > NESTING_MAX


def json_object(value: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object, decimal numbers as Decimal.

    Raises:
        Rejected: The bytes are something else.
    """
    try:
        with decimal.localcontext(FRESH):
            fields = _from_json(value)
    except RecursionError:
        raise Rejected("JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise Rejected(f"not UTF-8: {error.reason} at byte {error.start} of a text") from None
    except ArithmeticError:
        raise Rejected("JSON with a number out of all range") from None
    except msgspec.ValidationError as error:
        raise Rejected(f"JSON that cannot be read: {error}") from None
    except ValueError as error:
        raise Rejected(f"not JSON: {error}" if value else "empty record") from None
    if not isinstance(fields, dict):
        raise Rejected(f"expected a JSON object, got {type(fields).__name__}")
    return fields


def _found(fields: Mapping[str, Any], name: str) -> str:
    return f", got {shown(fields[name])}" if name in fields else ", which is missing"


def _reads(spec: EventSpec, version: Any, readable_from: Any) -> bool:
    """Say whether a class reads a version as its own: if it is, or is newer and says that it may be read so."""
    if type(version) is not int or version < spec.version:
        return False
    return version == spec.version or (type(readable_from) is int and 1 <= readable_from <= spec.version)


def upcast(spec: EventSpec, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an event in the current version of its class.

    Raises:
        Rejected: The version is none that the class can read, or an upcaster failed.
    """
    version = fields.get(SCHEMA_VERSION, 1)
    if type(version) is not int or version < 1:
        raise Rejected(f"{spec.name}: expected a version from 1 in `{SCHEMA_VERSION}`" + _found(fields, SCHEMA_VERSION))
    if version > spec.version and not _reads(spec, version, fields.get(READABLE_FROM)):
        number = version if version <= INT_MAX else "beyond 64 bits"
        raise Rejected(f"{spec.name} version {number} is newer than this code, which reads up to {spec.version}")
    for number in range(version, spec.version):
        with decimal.localcontext(FRESH):
            fields = _upcast_once(spec.name, spec.upcasters[number], number, fields)
    return {**fields, "type": spec.name, SCHEMA_VERSION: spec.version}


def _upcast_once(kind: str, upcaster: Any, version: int, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        newer = upcaster(fields)
    except MemoryError:
        raise
    except Exception as error:
        raise Rejected(f"{kind}: upcast_{version} {raised(error)}") from error
    if not isinstance(newer, dict):
        raise Rejected(f"{kind}: upcast_{version} returned {type(newer).__name__}, not a dict")
    try:
        refuse_flaws(newer)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"{kind}: upcast_{version}: {error}") from error
    return dict(newer)


def _names_read(event: type[Event], view: ViewSpec) -> set[str] | None:
    """Return which fields of an event a view reads, or None if a handler may do anything with it."""
    terms = [term for fold in view.folds.values() for term in fold.terms if term.event is event]
    expressions = [part for term in terms for part in (term.value, term.where) if part is not None]
    names = {field.name for expression in expressions for field in fields_of(expression)}
    if view.dedupe_us:
        names.add("event_id")
    if (handler := view.handlers.get(event)) is not None:
        use = handler.argument
        if use.anything or use.writes or use.deletes or not use.reads <= event_spec(event).hints.keys():
            return None
        names |= use.reads
    return names


def _slim(event: type[Event], names: Collection[str]) -> type[msgspec.Struct]:
    """Return a struct with just these fields of `event`."""
    spec = event_spec(event)
    fields = [
        (name, field_type(hint).wire, _wire_field(event, name)) for name, hint in spec.hints.items() if name in names
    ]
    return msgspec.defstruct(
        spec.name,
        [*fields, (SCHEMA_VERSION, int, 1)],
        tag=spec.name,
        tag_field="type",
        kw_only=True,
        frozen=True,
        gc=False,
    )


def wire_struct(event: type[Event]) -> type[msgspec.Struct]:
    """Return a subclass of `event` as it must be on the wire: with a timestamp, integers bounded, times with a zone."""
    spec = event_spec(event)
    namespace = {
        "__module__": event.__module__,
        "__qualname__": event.__qualname__,
        "__annotations__": {name: field_type(hint).wire for name, hint in spec.hints.items()} | {SCHEMA_VERSION: int},
        SCHEMA_VERSION: 1,
    }
    namespace |= {name: _wire_field(event, name) for name in spec.hints}
    # Not through the event's metaclass, which would take this for a declaration.
    wire: type[msgspec.Struct] = msgspec.StructMeta.__new__(
        type(event),
        spec.name,
        (event,),
        namespace,
        kw_only=True,
        frozen=True,
        gc=False,
        tag=spec.name,
        tag_field="type",
    )
    type.__setattr__(wire, "__event__", spec)
    return wire


def _wire_field(event: type[Event], name: str) -> Any:
    """Return the name and the default that an event's field has on the wire."""
    field = next(field for field in msgspec.structs.fields(event) if field.name == name)
    if name == "timestamp":
        return msgspec.field(name=field.encode_name)
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory, name=field.encode_name)
    return msgspec.field(default=field.default, name=field.encode_name)


def in_utc(event: Any) -> Any:
    """Return an event with the times among its own fields in UTC; the view would else depend on the producer's zone.

    Raises:
        Rejected: A time lies outside the years that there are.
    """
    changes = {}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, datetime) and value.tzinfo is not UTC:
            try:
                changes[name] = value.astimezone(UTC)
            except OverflowError:
                expected = f"expected a time between the years 1 and 9999 in UTC in `{name}`"
                raise Rejected(f"{type(event).__name__}: {expected}, got {value.isoformat()}") from None
    return msgspec.structs.replace(event, **changes)


def in_utc_throughout(event: Any) -> Any:
    """Return an event with all times in it in UTC, however deep: msgpack knows no other zone.

    Raises:
        Rejected: There is something in it that msgpack does not know.
    """
    try:
        return msgspec.msgpack.decode(_to_msgpack(event), type=type(event))
    except (ValueError, TypeError, OverflowError) as error:
        raise Rejected(f"{type(event).__name__}: {error}") from None
