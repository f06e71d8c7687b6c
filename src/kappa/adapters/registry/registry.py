"""The schema registry behind Confluent's HTTP API: Apicurio, Confluent's own, Karapace, Redpanda.

The registry's rule for a subject is switched off when something is registered in it, for two reasons. No rule knows
upcasters, so each refuses the changes that they are there for; and registries judge open JSON Schemas by rules under
which no field can be added. `kappa schema register` judges before it comes here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec
from confluent_kafka.schema_registry import Schema as Text
from confluent_kafka.schema_registry.error import SchemaRegistryError

from kappa.adapters.registry.client import SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, connect, registry_errors
from kappa.model.event_schema import Schema
from kappa.ports.registry import RegisteredSchema

_KIND = "JSON"


class HttpRegistry:
    """A client of a registry. Nothing is asked before the first call. Not for use by two threads."""

    def __init__(self, url: str, credentials: str = "") -> None:
        """Prepare to ask the registry at `url`, such as `http://127.0.0.1:8081`; `credentials` are USER:PASSWORD."""
        self._url = url
        self._client = connect(url, credentials)

    def subjects(self) -> Sequence[str]:
        with registry_errors(self._url):
            return sorted(self._client.get_subjects())

    def schemas(self, subject: str) -> Sequence[RegisteredSchema]:
        with registry_errors(self._url):
            return list(self._schemas(subject))

    def _schemas(self, subject: str) -> Iterator[RegisteredSchema]:
        try:
            for number in sorted(self._client.get_versions(subject)):
                found = self._client.get_version(subject, number).schema
                if found.schema_type == _KIND:
                    yield RegisteredSchema(subject, number, msgspec.json.decode(found.schema_str or "{}"))
        except SchemaRegistryError as error:
            if error.error_code not in (SUBJECT_NOT_FOUND, VERSION_NOT_FOUND):
                raise

    def register(self, subject: str, schema: Schema) -> RegisteredSchema:
        for each in self.schemas(subject):
            if each.schema == schema:
                return each
        text = Text(msgspec.json.encode(schema).decode(), _KIND)
        with registry_errors(self._url):
            # Some registries know a subject's rule before its first schema, and some do not.
            with suppress(SchemaRegistryError):
                self._client.set_compatibility(subject, "NONE")
            self._client.register_schema(subject, text)
            self._client.set_compatibility(subject, "NONE")
            found = self._client.lookup_schema(subject, text)
        return RegisteredSchema(subject, found.version or 1, schema)

    def close(self) -> None:
        self._client.close()
