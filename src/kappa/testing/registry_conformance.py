"""The laws of the `SchemaRegistry` port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from kappa.model.event_schema import Schema
from kappa.ports.registry import RegisteredSchema, SchemaRegistry
from kappa.testing.conformance import Conformance
from kappa.testing.processes import register_schemas, run_together


def schema(*fields: str, version: int = 1) -> Schema:
    """Return a schema of text fields, all of them required."""
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in fields} | {"_schema_version": {"const": version}},
        "required": list(fields),
    }


class SchemaRegistryConformance(Conformance):
    """Laws of a schema registry. An adapter gives the fixture `open_registry`: a picklable function that opens one.

    Every test gets a registry of its own, or the fixture `subject` with a name that nobody has used.
    """

    @pytest.fixture
    def registry(self, open_registry: Callable[[], SchemaRegistry]) -> Iterator[SchemaRegistry]:
        """A registry."""
        with closing(open_registry()) as registry:
            yield registry

    def test_a_schema_comes_back_as_it_was_registered(self, registry: SchemaRegistry, subject: str) -> None:
        given = schema("user_id", "name of a city: Zürich \N{CHEESE WEDGE}")

        assert registry.register(subject, given) == RegisteredSchema(subject, 1, given)
        assert registry.schemas(subject) == [RegisteredSchema(subject, 1, given)]
        assert subject in registry.subjects()

    def test_a_subject_that_nobody_registered_has_no_schemas(self, registry: SchemaRegistry, subject: str) -> None:
        assert registry.schemas(subject) == []
        assert subject not in registry.subjects()

    def test_schemas_are_numbered_in_the_order_of_registration(self, registry: SchemaRegistry, subject: str) -> None:
        given = [schema("a"), schema("a", "b"), schema("c")]

        registered = [registry.register(subject, each) for each in given]

        assert [each.number for each in registered] == [1, 2, 3]
        assert registry.schemas(subject) == registered

    def test_a_schema_registered_again_is_the_one_that_is_there(self, registry: SchemaRegistry, subject: str) -> None:
        first = registry.register(subject, schema("a"))
        registry.register(subject, schema("b"))

        assert registry.register(subject, schema("a")) == first
        assert len(registry.schemas(subject)) == 2

    def test_what_an_upcaster_will_read_is_registered_whatever_changes(
        self, registry: SchemaRegistry, subject: str
    ) -> None:
        """Who calls has judged it; no rule of a registry knows upcasters."""
        registry.register(subject, schema("amount_cents"))

        assert registry.register(subject, schema("amount", "currency", version=2)).number == 2

    def test_subjects_are_apart(self, registry: SchemaRegistry, subject: str) -> None:
        registry.register(subject, schema("a"))
        registry.register(f"{subject}-x", schema("b"))

        assert [each.schema for each in registry.schemas(subject)] == [schema("a")]

    def test_processes_that_register_the_same_schemas_agree(
        self, open_registry: Callable[[], SchemaRegistry], registry: SchemaRegistry, subject: str
    ) -> None:
        given = [schema(f"f{number}") for number in range(5)]

        run_together(register_schemas, (open_registry, subject, given), (open_registry, subject, given[::-1]))

        found = registry.schemas(subject)
        assert sorted(str(each.schema) for each in found) == sorted(map(str, given))
        assert [each.number for each in found] == [1, 2, 3, 4, 5]

    def test_schemas_outlive_their_users(self, open_registry: Callable[[], SchemaRegistry], subject: str) -> None:
        with closing(open_registry()) as registry:
            registered = registry.register(subject, schema("a"))

        with closing(open_registry()) as registry:
            assert registry.schemas(subject) == [registered]

    def test_closing_twice_is_harmless(self, registry: SchemaRegistry) -> None:
        registry.close()
        registry.close()
