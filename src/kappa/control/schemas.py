"""The schemas of a project's event types: check them against what was registered, register them, compare them.

It judges with `planning.compatibility` and asks a registry for nothing but what was registered. Nothing is registered
that former events, or the code that runs, could not bear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from kappa.errors import InputError, SchemaRefused, StoreUnavailable
from kappa.model.event_schema import Schema, event_schema, schema_version
from kappa.model.events import Event, EventSpec, event_spec
from kappa.planning.compatibility import Broken, Compatibility, Registered, changed_fields, judge
from kappa.ports.registry import RegisteredSchema, SchemaRegistry


class SchemaState(StrEnum):
    """How an event type's code stands to what was registered for it."""

    NEW = "new"
    UNCHANGED = "unchanged"
    COMPATIBLE = "compatible"
    INCOMPATIBLE = "incompatible"


class EventCheck(msgspec.Struct, frozen=True):
    """The check of one event type.

    Attributes:
        event: The type.
        version: The `_schema_version` of its code.
        state: How it stands to what was registered.
        upcast_from: Registered versions that it reads through upcasters.
        reasons: Why it is incompatible, each with its field and the rule that is broken.
        remedy: What to do about that, or None.
    """

    event: str
    version: int
    state: SchemaState
    upcast_from: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    remedy: str | None = None


class SubjectEntry(msgspec.Struct, frozen=True):
    """One registered schema: its subject, its number there, and the `_schema_version` that it describes."""

    subject: str
    number: int
    version: int
    fields: tuple[str, ...]


class SchemaDiff(msgspec.Struct, frozen=True):
    """How an event type's code differs from the schema registered last.

    Attributes:
        event: The type.
        number: The number of that schema; None if none is registered.
        fields: A line per field that was added (+), removed (-) or changed (~).
        check: What follows from that.
    """

    event: str
    number: int | None
    fields: tuple[str, ...]
    check: EventCheck


class Schemas:
    """The schemas of one project's events."""

    def __init__(self, events: Mapping[str, type[Event]], *, registry: SchemaRegistry, project: str) -> None:
        """Take the project's event types; `project` is its name, with which its subjects begin."""
        self._events, self._registry, self._project = events, registry, project

    def subject(self, event: str) -> str:
        """Return the subject of an event type: `shop-OrderPlaced`."""
        return subject_of(self._project, event)

    def check(self, level: Compatibility) -> tuple[EventCheck, ...]:
        """Check all event types."""
        return tuple(self._check(event, self._registered(name), level) for name, event in self._events.items())

    def register(self, level: Compatibility) -> tuple[EventCheck, ...]:
        """Register what is new or has changed, and return how it stood to what was registered before.

        Raises:
            SchemaRefused: An event type is incompatible. Nothing was registered.
        """
        checks = self.check(level)
        for check in checks:
            if check.state is SchemaState.INCOMPATIBLE:
                assert check.remedy is not None
                raise SchemaRefused(event=check.event, reasons=check.reasons, next_step=check.remedy)
        for check in checks:
            if check.state is not SchemaState.UNCHANGED:
                self._registry.register(self.subject(check.event), event_schema(self._events[check.event]))
        return checks

    def diff(self, name: str, level: Compatibility) -> SchemaDiff:
        """Compare an event type with the schema that was registered last.

        Raises:
            InputError: The project has no such event type.
        """
        if name not in self._events:
            raise InputError(
                f"the project has no event type '{name}'",
                next_step=f"choose one of: {', '.join(self._events) or 'none'}",
            )
        registered = self._registered(name)
        check = self._check(self._events[name], registered, level)
        if not registered:
            return SchemaDiff(name, None, (), check)
        last = registered[-1]
        return SchemaDiff(name, last.number, changed_fields(last.schema, event_schema(self._events[name])), check)

    def entries(self) -> Iterator[SubjectEntry]:
        """Yield what is registered for this project, also for event types that its code has no more."""
        for each in self._all():
            yield SubjectEntry(
                each.subject, each.number, schema_version(each.schema), tuple(each.schema.get("properties", {}))
            )

    def export(self, other: SchemaRegistry) -> int:
        """Register in another registry all that it has not, in order, and return how many schemas there are now."""
        count = 0
        for each in self._all():
            other.register(each.subject, each.schema)
            count += 1
        return count

    def _all(self) -> Iterator[RegisteredSchema]:
        for subject in self._registry.subjects():
            if subject.startswith(subject_of(self._project, "")):
                yield from self._registry.schemas(subject)

    def _registered(self, event: str) -> list[Registered]:
        return [Registered(each.number, each.schema) for each in self._registry.schemas(self.subject(event))]

    def _check(self, event: type[Event], registered: list[Registered], level: Compatibility) -> EventCheck:
        spec, schema = event_spec(event), event_schema(event)
        if not registered:
            return EventCheck(spec.name, spec.version, SchemaState.NEW)
        evolution = judge(schema, registered, level)
        if evolution.broken:
            reasons = tuple(f"against {each.number}, {each.direction}: {each.why}" for each in evolution.broken)
            remedy = _remedy(spec, evolution.broken)
            return EventCheck(spec.name, spec.version, SchemaState.INCOMPATIBLE, evolution.upcast_from, reasons, remedy)
        state = SchemaState.UNCHANGED if registered[-1].schema == schema else SchemaState.COMPATIBLE
        return EventCheck(spec.name, spec.version, state, evolution.upcast_from)


def schema_warnings(schemas: Schemas, level: Compatibility) -> tuple[str, ...]:
    """Say which event types are incompatible, a sentence each; that a registry is away is one too, and no failure."""
    try:
        checks = schemas.check(level)
    except StoreUnavailable as error:
        return (f"the schemas of events were not checked: {error.message}",)
    return tuple(
        f"{check.event} is incompatible with what is registered: {'; '.join(check.reasons)}; see: kappa schema check"
        for check in checks
        if check.state is SchemaState.INCOMPATIBLE
    )


def subject_of(project: str, event: str) -> str:
    """Return the subject of an event type.

    >>> subject_of("shop", "OrderPlaced")
    'shop-OrderPlaced'
    """
    return f"{project}-{event}"


def schemas_by_version(registry: SchemaRegistry, subject: str) -> dict[int, Schema]:
    """Return `_schema_version` -> the schema registered last for it."""
    return {schema_version(each.schema): each.schema for each in registry.schemas(subject)}


def _remedy(spec: EventSpec, broken: tuple[Broken, ...]) -> str:
    event, version = spec.name, spec.version
    rules = {each.why.rule for each in broken}
    if "version-lowered" in rules:
        return f"take the newer code of {event}, or raise its version"
    if "version-raised" in rules:
        return (
            f"change {event} within version {version - 1}: add fields that have a default; or keep all that its former "
            f"code reads, and declare version={version}, readable_from={version - 1}"
        )
    if spec.readable_from < version and all(each.direction is Compatibility.FORWARD for each in broken):
        return f"keep in {event} what its former code reads, or declare a higher readable_from"
    return f"declare {event} with version={version + 1} and upcast_{version}, or give what is new a default"
