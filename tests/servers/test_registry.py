"""The client of a schema registry keeps the laws of a registry, against a real one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from uuid import uuid4

import pytest
from confluent_kafka.schema_registry import Schema

from kappa.adapters.registry.registry import HttpRegistry
from kappa.errors import ProjectError, StoreUnavailable
from kappa.testing.registry_conformance import SchemaRegistryConformance, schema


@pytest.fixture
def subject() -> str:
    return f"shop-Order {uuid4()}/Placed"


class TestHttpRegistry(SchemaRegistryConformance):
    @pytest.fixture
    def open_registry(self, registry_server) -> Callable[[], HttpRegistry]:
        return partial(HttpRegistry, registry_server.url)


@pytest.fixture
def open_to(registry_server) -> Iterator[Callable[..., HttpRegistry]]:
    """Open clients that are closed when the test ends."""
    with ExitStack() as opened:

        def opening(url: str = registry_server.url) -> HttpRegistry:
            return opened.enter_context(closing(HttpRegistry(url)))

        yield opening


def test_schemas_of_other_kinds_are_left_out(open_to, subject):
    registry = open_to()
    registry._client.register_schema(subject, Schema('{"type":"record","name":"Seen","fields":[]}', "AVRO"))

    assert registry.schemas(subject) == []


def test_a_registry_that_does_not_answer_is_named_and_may_be_asked_again(
    registry_server, open_to, subject, monkeypatch
):
    monkeypatch.setattr("kappa.adapters.registry.client._TIMEOUT_S", 0.2)
    registry = open_to()

    with registry_server.stopped(), pytest.raises(StoreUnavailable, match="schema registry at http") as failure:
        registry.register(subject, schema("a"))

    assert failure.value.retryable
    assert registry.register(subject, schema("a")).number == 1


def test_a_registry_that_is_not_there_is_named(open_to):
    with pytest.raises(StoreUnavailable, match=r"the schema registry at http://127\.0\.0\.1:1"):
        open_to("http://127.0.0.1:1").subjects()


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ProjectError, match=r"\[registry\]: Invalid url"):
        HttpRegistry("localhost:8081")


def test_credentials_that_are_none_are_refused():
    with pytest.raises(ProjectError, match=r"\[registry\]: "):
        HttpRegistry("http://127.0.0.1:1", "no colon")


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ProjectError) as refused:
        HttpRegistry("http://ana:secret@127.0.0.1:1")

    assert refused.value.message == "registry.url holds credentials"
