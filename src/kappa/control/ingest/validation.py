"""Compare events with their registered schemas before they are appended. The registry is asked once per event type.

An event is held against the schema that was registered last for its own `_schema_version`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from kappa.control.ingest.mapping import Validation
from kappa.control.schemas import schemas_by_version, subject_of
from kappa.extras import needs_extra
from kappa.model.event_schema import Schema
from kappa.model.events import SCHEMA_VERSION
from kappa.ports.registry import SchemaRegistry

# Formats as the decoder of events reads them.
_FORMATS: Mapping[str, Any] = {
    "date-time": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "decimal": Decimal,
}


def validation(registry: SchemaRegistry, *, project: str) -> Validation:
    """Return what says why an event is not as registered for a project.

    Raises:
        ProjectError: No JSON Schema validator is installed.
    """
    make_validator = _validators()
    known: dict[str, dict[int, Any]] = {}

    def reason(kind: str, value: bytes) -> str | None:
        if kind not in known:
            schemas = schemas_by_version(registry, subject_of(project, kind))
            known[kind] = {version: make_validator(schema) for version, schema in schemas.items()}
        fields = msgspec.json.decode(value)
        version = fields.get(SCHEMA_VERSION, 1)
        if (validator := known[kind].get(version)) is None:
            return f"Expected a registered schema of {kind} version {version!r}, found none"
        error = next(iter(validator.iter_errors(fields)), None)
        return None if error is None else f"{kind}: {error.message} - at `{error.json_path}`"

    return reason


def _validators() -> Callable[[Schema], Any]:
    with needs_extra("kafka"):
        import jsonschema  # noqa: PLC0415 - an optional extra, and slow to import

    formats = jsonschema.FormatChecker(formats=())
    for name, kind in _FORMATS.items():
        formats.checks(name, raises=msgspec.ValidationError)(_check_of(kind))
    return lambda schema: jsonschema.Draft202012Validator(schema, format_checker=formats)


def _check_of(kind: Any) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if isinstance(value, str):  # a format says nothing of other values
            msgspec.convert(value, kind)
        return True

    return check
