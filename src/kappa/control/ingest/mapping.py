"""Turn a piece of input into events: as it is, as one type, or by a function of the project.

A piece is the bytes of a JSON object. Rows of CSV and Parquet are made into one first, so that a row that was rejected
can be kept, shown and tried again like any line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from kappa.control.ingest.envelope import EventReader, NotAnEvent
from kappa.control.project import import_from
from kappa.errors import InputError
from kappa.model.events import EPOCH, Event, encode_event, event_spec
from kappa.model.records import NewRecord
from kappa.model.types import field_type

RowFunction = Callable[[dict[str, Any]], Iterable[Event]]
Mapped = Sequence[tuple[str, NewRecord]]


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


InputMapping = AsIs | AsType | ByFunction


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


def resolve_mapping(name: str, *, root: Path, events: Callable[[], Mapping[str, type[Event]]]) -> InputMapping:
    """Return the mapping of a name that another had: the inverse of `name`.

    Args:
        name: As in `AsIs.name`, `AsType.name` or `ByFunction.name`.
        root: Where the project's modules are imported from.
        events: Returns the project's event types; called only if they are needed.

    Raises:
        InputError: There is no such event type or function.
        ProjectError: The project's code cannot be imported.
    """
    kind, _, what = name.partition(":")
    match kind:
        case "":
            return AsIs()
        case "type" | "text":
            known = events()
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
