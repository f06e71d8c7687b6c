"""Events: what happened, as typed, immutable facts. A class describes the current version; upcasters read older ones.

Nothing here reads a log. On the wire an event is a JSON object with `type` (the class's name), `timestamp`, and
`_schema_version` where it is not 1; `_readable_from` where code of former versions can read it too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

import msgspec

from kappa.errors import DefinitionError
from kappa.model.defaults import constant_default
from kappa.model.expressions import Field
from kappa.model.hints import resolve_hints
from kappa.model.places import calling_frame, place_of_field, place_of_frame
from kappa.model.types import field_type, flaw_of_type
from kappa.model.values import Rejected

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCHEMA_VERSION = "_schema_version"
READABLE_FROM = "_readable_from"
_UPCASTER = "upcast_"
_RESERVED = ("type", SCHEMA_VERSION, READABLE_FROM)

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class EventSpec(msgspec.Struct, frozen=True):
    """What is declared about an event type.

    Attributes:
        name: Its `type` on the wire.
        version: The current schema version, from 1.
        readable_from: The oldest version whose code reads events of the current one, and does not misread them.
        hints: Field name -> resolved type hint, those of base classes first, then in order of declaration.
        upcasters: Version n -> function from the fields of version n to those of n + 1.
        place: `file:line` of the declaration, if known.
    """

    name: str
    version: int
    readable_from: int
    hints: Mapping[str, Any]
    upcasters: Mapping[int, Upcaster]
    place: str | None


class UnknownField(DefinitionError, AttributeError):
    """An event type was asked for a field that it does not have. An AttributeError too, so that `hasattr` works."""


class _Declaration:
    """One event class on its way to a struct."""

    def __init__(self, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], frame: FrameType | None) -> None:
        self.name, self.namespace, self.frame = name, namespace, frame
        self.hints = resolve_hints(namespace, frame, what=f"event {name}")
        self.inherited: dict[str, Any] = {}
        for base in reversed(bases):
            if (spec := getattr(base, "__event__", None)) is not None:
                self.inherited |= spec.hints

    def struct_namespace(self) -> dict[str, Any]:
        """Return the class body with types resolved and defaults that are constants."""
        self._check_fields()
        body = dict(self.namespace)
        body["__annotations__"] = self.hints
        for name, hint in self.hints.items():
            if name in body:
                try:
                    body[name] = constant_default(body[name], field_type(hint), what=f"the default of '{name}'")
                except Rejected as error:
                    raise self.wrong(f": {error}", "write a constant of the field's type", field=name) from error
                if getattr(body[name], "name", None) in _RESERVED:
                    raise self.wrong(f" cannot call a field '{body[name].name}'", "choose another name", field=name)
        return body

    def specify(self, cls: Any, *, version: int, readable_from: int | None) -> EventSpec:
        """Check the versions and upcasters of the finished class, and return the declaration as values."""
        upcasters = self._upcasters(cls, version)
        oldest = version if readable_from is None else readable_from
        if type(oldest) is not int or not 1 <= oldest <= version:
            raise self.wrong(
                f": expected readable_from to be a version from 1 to {version}, got {oldest!r}",
                "name the oldest version whose code can read what this class writes, or leave it out",
            )
        return EventSpec(self.name, version, oldest, self.inherited | self.hints, upcasters, place_of_frame(self.frame))

    def wrong(self, message: str, next_step: str | None, *, field: str | None = None) -> DefinitionError:
        """Return the error that says what is wrong with this event, or with one of its fields."""
        place = place_of_frame(self.frame) if field is None else place_of_field(self.frame, field)
        return DefinitionError(f"event {self.name}{message}", next_step=next_step, where=place)

    def _check_fields(self) -> None:
        for name in ("__init__", "__post_init__"):
            if name in self.namespace:
                raise self.wrong(
                    f" cannot have {name}: views decode only the fields that they use",
                    "declare limits with Annotated[..., msgspec.Meta(...)], or check in a handler",
                )
        for name, hint in self.hints.items():
            if name.startswith("_") or name in _RESERVED:
                remedy = "choose a name without a leading underscore, other than 'type'"
                raise self.wrong(f" cannot have a field '{name}'", remedy, field=name)
            if (flaw := flaw_of_type(hint)) is not None:
                raise self.wrong(f": field '{name}' {flaw[0]}", flaw[1], field=name)
            if name == "timestamp" and hint is not datetime:
                raise self.wrong(": 'timestamp' is not a datetime", "declare timestamp: datetime", field=name)

    def _upcasters(self, cls: Any, version: int) -> dict[int, Upcaster]:
        if type(version) is not int or version < 1:
            raise self.wrong(f": expected a version from 1, got {version!r}", "count versions from 1")
        found = {
            int(name.removeprefix(_UPCASTER)): getattr(cls, name)
            for name in dir(cls)
            if name.startswith(_UPCASTER) and name.removeprefix(_UPCASTER).isdecimal()
        }
        if missing := [number for number in range(1, version) if number not in found]:
            raise self.wrong(
                f" is at version {version} but cannot read version {missing[0]}",
                f"add a class method upcast_{missing[0]}(cls, old: dict) -> dict",
            )
        if extra := [number for number in sorted(found) if not 1 <= number < version]:
            raise self.wrong(
                f" is at version {version}, so upcast_{extra[0]} never runs",
                f"raise the class's version to {extra[0] + 1}, or delete upcast_{extra[0]}",
            )
        for number, upcaster in found.items():
            try:
                inspect.signature(upcaster).bind({})
            except (TypeError, ValueError) as error:
                raise self.wrong(
                    f": upcast_{number} must take the old fields and nothing else: {error}",
                    f"write @classmethod, then def upcast_{number}(cls, old: dict) -> dict",
                ) from None
        return dict(sorted(found.items()))


class _EventMeta(msgspec.StructMeta):
    """Makes a frozen struct of each event class, and its fields usable in folds: `OrderPlaced.amount`."""

    def __new__(  # noqa: PYI034 - Self cannot be used in a metaclass
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        version: int = 1,
        readable_from: int | None = None,
        **options: Any,
    ) -> _EventMeta:
        declaration = _Declaration(name, bases, namespace, calling_frame())
        if options and bases != (msgspec.Struct,):
            raise declaration.wrong(
                f" has no option {', '.join(options)}",
                "the options of an event class are version=N and readable_from=M",
            )
        try:
            cls = super().__new__(
                mcls,
                name,
                bases,
                declaration.struct_namespace(),
                kw_only=True,
                frozen=True,
                gc=False,
                tag=name,
                tag_field="type",
            )
        except (TypeError, ValueError) as error:
            raise declaration.wrong(f" cannot be made a struct: {error}", "derive it from Event alone") from error
        type.__setattr__(cls, "__event__", declaration.specify(cls, version=version, readable_from=readable_from))
        return cls

    if not TYPE_CHECKING:  # a type checker would take any name for a field

        def __getattribute__(cls, name: str) -> Any:  # noqa: N805 - a metaclass's self is a class
            value = type.__getattribute__(cls, name)
            if name.startswith("_") or name not in type.__getattribute__(cls, "__struct_fields__"):
                return value
            return Field(cls, name, type.__getattribute__(cls, "__event__").hints[name])

        def __getattr__(cls, name: str) -> Any:  # noqa: N805 - see above
            if name.startswith("_"):
                raise AttributeError(name)
            raise UnknownField(
                f"event {cls.__name__} has no field '{name}'",
                next_step=f"choose one of: {', '.join(cls.__struct_fields__)}",
                where=place_of_frame(calling_frame()),
            )


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, metaclass=_EventMeta, frozen=True):  # said here too for type checkers
    """Base of all event types: a frozen, keyword-only struct.

    Declare fields as in a dataclass. With `version=N`, a class method `upcast_M` for each M below N turns the fields
    of version M into those of M + 1. With `readable_from=M`, what it writes says that code which knows no version
    above M may read it too: views that were deployed before go on, and read past what they do not know.

    Attributes:
        timestamp: When it happened, with a time zone. It has a default for tests only; on the wire it is required.

    >>> class OrderPlaced(Event, version=2):
    ...     user_id: str
    ...     currency: str = "EUR"
    ...
    ...     @classmethod
    ...     def upcast_1(cls, old: dict) -> dict:  # version 1 had no currency
    ...         return {**old, "currency": "EUR"}
    >>> encode_event(OrderPlaced(user_id="ana"))
    b'{"_schema_version":2,"type":"OrderPlaced","timestamp":"1970-01-01T00:00:00Z","user_id":"ana","currency":"EUR"}'
    """

    timestamp: datetime = EPOCH

    if TYPE_CHECKING:
        __event__: ClassVar[EventSpec]

        def __init_subclass__(cls, *, version: int = 1, readable_from: int | None = None) -> None: ...


def event_methods(event: type[Event]) -> list[Callable[..., Any]]:
    """Return the methods and properties of an event type, which a handler may call whatever its annotations say."""
    bases = [base for base in event.__mro__ if issubclass(base, Event) and base is not Event]
    values = [value for base in bases for value in vars(base).values()]
    properties = [value.fget for value in values if isinstance(value, property) and value.fget is not None]
    return [value for value in values if isinstance(value, FunctionType)] + properties


def event_spec(event: type[Event]) -> EventSpec:
    """Return what is declared about an event type."""
    return event.__event__


def encode_event(event: Event) -> bytes:
    """Return an event's bytes on the wire, in its class's current version."""
    body = msgspec.json.encode(event)
    spec = type(event).__event__
    if spec.readable_from < spec.version:
        body = b'{"%b":%d,%b' % (READABLE_FROM.encode(), spec.readable_from, body[1:])
    return body if spec.version == 1 else b'{"%b":%d,%b' % (SCHEMA_VERSION.encode(), spec.version, body[1:])
