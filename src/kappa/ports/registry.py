"""The schema registry: the JSON Schemas of event types, in the order in which they were registered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from kappa.model.event_schema import Schema


class RegisteredSchema(msgspec.Struct, frozen=True):
    """A schema as it was registered.

    Attributes:
        subject: What it is about: one subject per event type.
        number: The registry's number within the subject, rising from 1. It is not the event's `_schema_version`, which
            several schemas can share.
        schema: The JSON Schema.
    """

    subject: str
    number: int
    schema: Schema


class SchemaRegistry(Protocol):
    """Where the schemas of events are, for those who write and read them. Nothing is ever changed or deleted here.

    Every method may raise `StoreUnavailable`. Retry.
    """

    def subjects(self) -> Sequence[str]:
        """Return all subjects, sorted."""

    def schemas(self, subject: str) -> Sequence[RegisteredSchema]:
        """Return a subject's JSON Schemas, oldest first; none if there is no such subject.

        Schemas of other kinds, which somebody else registered, are left out.
        """

    def register(self, subject: str, schema: Schema) -> RegisteredSchema:
        """Add a schema, whatever came before it: the caller has judged that. Idempotent by content."""

    def close(self) -> None:
        """Release connections. Idempotent."""


class WireReader(Protocol):
    """Reads the wire format of Confluent's clients: a zero byte, the schema's id in four bytes, the payload."""

    def read(self, value: bytes) -> bytes:
        """Return the JSON object that a value stands for, with `type`: the schema's name where it has no such field.

        Raises:
            UnreadableValue: With the reason. Final.
            StoreUnavailable: Its schema is not known yet, and the registry is away. Retry.
        """


class UnreadableValue(ValueError):
    """A value that is not in the wire format, or not as its schema says; the text is the reason."""
