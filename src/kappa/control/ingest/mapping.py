"""Turn a piece of input into events: as it is, as one type, or by a function of the project.

A piece is the bytes of a JSON object. Rows of CSV and Parquet are made into one first, so that a row that was rejected
can be kept, shown and tried again like any line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import msgspec

from kappa.control.ingest.envelope import EventReader, NotAnEvent
from kappa.control.project import import_from
from kappa.errors import InputError
from kappa.model.events import EPOCH, Event, encode_event, event_spec
from kappa.model.records import NewRecord
from kappa.model.types import field_type
from kappa.ports.registry import UnreadableValue, WireReader

RowFunction = Callable[[dict[str, Any]], Iterable[Event]]
Mapped = Sequence[tuple[str, NewRecord]]
# Says of an event, by its type and its bytes, why it is not as registered, or None.
Validation = Callable[[str, bytes], str | None]


class AsIs(msgspec.Struct, frozen=True):
    """Pieces are events already; their bytes go into the log unchanged."""

    @property
    def name(self) -> str:
        """How the source's state names this mapping."""
        return ""

    def events(self, piece: bytes, reader: EventReader) -> Mapped:
        """Return the event and its record.

        Raises:
            NotAnEvent: With the reason.
        """
        return (reader.read(piece),)


class AsType(msgspec.Struct, frozen=True):
    """Each piece has the fields of one event type.

    Attributes:
        event: The type.
        text: Whether all values are text, as in CSV: they become what the fields' types say, and empty text becomes
            None where a field allows None.
    """

    event: type[Event]
    text: bool

    @property
    def name(self) -> str:
        """How the source's state names this mapping."""
        return f"{'text' if self.text else 'type'}:{event_spec(self.event).name}"

    def events(self, piece: bytes, reader: EventReader) -> Mapped:
        """Return the event and its record; fields that the type does not have are left out.

        Raises:
            NotAnEvent: With the reason.
        """
        row = _row(piece)
        hints = event_spec(self.event).hints
        if self.text:
            row = {name: None if value == "" and _nullable(hints, name) else value for name, value in row.items()}
        try:
            event = msgspec.convert(row, self.event, strict=not self.text)
        except msgspec.MsgspecError as error:
            raise NotAnEvent(str(error)) from error
        return (_record_of(event, reader),)


class ByFunction(msgspec.Struct, frozen=True):
    """A function of the project makes events of each piece.

    Attributes:
        function: Takes the piece as a dict, returns any number of events.
        path: `module:function`.
    """

    function: RowFunction
    path: str

    @property
    def name(self) -> str:
        """How the source's state names this mapping."""
        return f"map:{self.path}"

    def events(self, piece: bytes, reader: EventReader) -> Mapped:
        """Return the events and their records: all of them or, if one cannot be used, none.

        Raises:
            NotAnEvent: With the reason.
        """
        row = _row(piece)
        try:
            events = list(self.function(row))
        except Exception as error:  # whatever the project's code raises is a fault of this piece
            raise NotAnEvent(f"{self.path} raised {type(error).__name__}: {error}") from error
        return [_record_of(event, reader) for event in events]


class OffTheWire(msgspec.Struct, frozen=True):
    """Pieces are in the wire format of Confluent's clients.

    Attributes:
        reader: Reads them.
        messages: The module of Protobuf messages that it reads with, or empty.
    """

    reader: WireReader
    messages: str

    @property
    def name(self) -> str:
        """How the source's state names this mapping."""
        return f"wire:{self.messages}"

    def events(self, piece: bytes, reader: EventReader) -> Mapped:
        """Return the event and its record.

        Raises:
            NotAnEvent: With the reason.
            StoreUnavailable: Its schema is not known yet, and the registry is away.
        """
        try:
            value = self.reader.read(piece)
        except UnreadableValue as error:
            raise NotAnEvent(str(error)) from error
        return (reader.read(value),)


PlainMapping = AsIs | AsType | ByFunction | OffTheWire


class Validated(msgspec.Struct, frozen=True):
    """What another mapping gives, where it is as a registered schema says.

    Attributes:
        mapping: The other.
        reason: Says of an event why it is not as registered.
    """

    mapping: PlainMapping
    reason: Validation

    @property
    def name(self) -> str:
        """How the source's state names this mapping."""
        return f"{_VALIDATED}{self.mapping.name}"

    def events(self, piece: bytes, reader: EventReader) -> Mapped:
        """Return the events and their records: all of them or, if one is not as registered, none.

        Raises:
            NotAnEvent: With the reason.
        """
        events = self.mapping.events(piece, reader)
        for kind, record in events:
            if (reason := self.reason(kind, record.value)) is not None:
                raise NotAnEvent(reason)
        return events


InputMapping = PlainMapping | Validated
_VALIDATED = "validated "


def _row(piece: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(piece, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnEvent(str(error)) from error


def _nullable(hints: Mapping[str, Any], name: str) -> bool:
    return name in hints and field_type(hints[name]).nullable


def _record_of(event: object, reader: EventReader) -> tuple[str, NewRecord]:
    """Return an event's type and record, having made sure that it can be read again."""
    if not isinstance(event, Event):
        raise NotAnEvent(f"Expected an event, got `{type(event).__name__}`")
    if event.timestamp == EPOCH:
        # The constructor's default, which is for tests: in the log it would be a lie about 1970.
        raise NotAnEvent(f"Expected a timestamp in {type(event).__name__}, got none")
    try:
        value = encode_event(event)
        msgspec.json.decode(value, type=type(event))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise NotAnEvent(f"{type(event).__name__}: {error}") from error
    return reader.read(value)


class MappingParts(msgspec.Struct, frozen=True):
    """What mappings are made with; each is called when a mapping needs it.

    Attributes:
        events: Returns the project's event types.
        wire_reader: Returns what reads the wire format, with a module of Protobuf messages if there is one.
        validation: Returns what says why an event is not as registered.
    """

    events: Callable[[], Mapping[str, type[Event]]]
    wire_reader: Callable[[ModuleType | None], WireReader]
    validation: Callable[[], Validation]


def resolve_mapping(name: str, *, root: Path, parts: MappingParts) -> InputMapping:
    """Return the mapping of a name that another had: the inverse of `name`.

    Args:
        name: As in `AsIs.name` and the others.
        root: Where the project's modules are imported from.
        parts: What the mapping may need.

    Raises:
        InputError: There is no such event type or function.
        ProjectError: The project's code cannot be imported.
    """
    if name.startswith(_VALIDATED):
        return Validated(_plain_mapping(name.removeprefix(_VALIDATED), root, parts), parts.validation())
    return _plain_mapping(name, root, parts)


def _plain_mapping(name: str, root: Path, parts: MappingParts) -> PlainMapping:
    kind, _, what = name.partition(":")
    match kind:
        case "":
            return AsIs()
        case "wire":
            return OffTheWire(parts.wire_reader(import_from(root, what) if what else None), what)
        case "type" | "text":
            known = parts.events()
            if what not in known:
                raise InputError(
                    f"the project has no event type '{what}'", next_step=f"choose one of: {', '.join(known) or 'none'}"
                )
            return AsType(known[what], text=kind == "text")
        case _:
            return ByFunction(_function(what, root), what)


def _function(path: str, root: Path) -> RowFunction:
    module, _, name = path.partition(":")
    if not module or not name:
        raise InputError(f"expected a function as module:function, got '{path}'")
    function = getattr(import_from(root, module), name, None)
    if not callable(function):
        raise InputError(
            f"module '{module}' has no function '{name}'",
            next_step=f"define it: def {name}(row: dict) -> Iterable[Event]",
        )
    return cast("RowFunction", function)
