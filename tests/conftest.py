"""How all tests run: the fast ones first, and property tests without a time limit per example."""

from __future__ import annotations

import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from postgres_server import PostgresServer, programs
from storages import KAFKA, KAFKA_AND_POSTGRES, POSTGRES, SQLITE
from xdist.scheduler import LoadScopeScheduling

from kappa.stack import Stack

pytest_plugins = ["kappa.testing.stacks"]

# A shell that starts a job in the background makes it ignore Ctrl-C, and its children with it; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A limit in milliseconds fails on a machine that is busy with something else, and says nothing about the code.
settings.register_profile("kappa", deadline=None)
settings.load_profile("kappa")


# All of Java's processes live for minutes here: optimising their code takes more than it gains.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of command lines run on servers, which `make test` has no time for."""
    parser.addoption(
        "--storage",
        choices=[SQLITE, POSTGRES, KAFKA, KAFKA_AND_POSTGRES],
        default=SQLITE,
        help="where the projects of tests/cli keep their logs and rows",
    )


class Place(NamedTuple):
    """Where a project can be in a PostgreSQL server."""

    dsn: str
    prefix: str


# Of several processes that share the tests one has all that need Flink, which takes memory and half a minute to start.
_FLINK = ("tests/flink/", "tests/stack/test_flink.py")
# Files whose tests share something that takes long to make.
_WHOLE = (
    "tests/model/test_fingerprint.py",
    "tests/servers/test_kafka_security.py",
    "tests/stack/test_postgres_faults.py",
    "tests/stack/test_stack.py",
    "tests/test_flights.py",
    "tests/test_shop.py",
)


class Shares(LoadScopeScheduling):
    """Deals tests to processes one by one, but for those that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        if file.startswith(_FLINK):
            return "Flink"
        return file if file in _WHOLE else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    """Let `make test` deal them so, whose processes each have a stack of their own."""
    return Shares(config, log)


def _turn(item: pytest.Item) -> int:
    """Return when a test runs; 0 is first. Of several processes one begins with Flink's: they take half of the time."""
    if hasattr(item.config, "workerinput") and item.nodeid.startswith(_FLINK):
        return 0
    return 1 if item.get_closest_marker("slow") is None else 2


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that are marked as slow behind all others; so are those on servers."""
    for item in items:
        if hasattr(item, "callspec") and item.callspec.params.get("storage", SQLITE) != SQLITE:
            item.add_marker(pytest.mark.slow)
    items.sort(key=_turn)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole session. Its disk is never written in earnest: nothing here survives it."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer("fsync=off", "max_connections=200") as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Place:
    """A place in it that no other test uses."""
    return Place(postgres_server.dsn, f"test{next(_numbers)}")


@pytest.fixture
def topics(small_stack: Stack) -> dict[str, str]:
    """The environment of a project whose logs are topics, with a prefix that no other test uses."""
    return {
        "KAPPA_LOG_STORE": "kafka",
        "KAPPA_KAFKA_BOOTSTRAP_SERVERS": small_stack.address("kafka"),
        "KAPPA_KAFKA_TOPIC_PREFIX": f"{uuid.uuid4().hex[:8]}.",
        "KAPPA_KAFKA_REPLICATION_FACTOR": "1",
        "KAPPA_KAFKA_MIN_INSYNC_REPLICAS": "1",
    }


@pytest.fixture
def use_storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let every project of a test keep its log, its rows and its versions somewhere, by its environment."""

    def use(kind: str) -> None:
        log, _, store = kind.partition("+")
        if log == "kafka":
            for name, value in request.getfixturevalue("topics").items():
                monkeypatch.setenv(name, value)
        if store == "postgres":
            place: Place = request.getfixturevalue("postgres")
            monkeypatch.setenv("KAPPA_STORAGE_STORE", store)
            monkeypatch.setenv("KAPPA_POSTGRES_DSN", place.dsn)
            monkeypatch.setenv("KAPPA_POSTGRES_SCHEMA_PREFIX", place.prefix)

    return use


@pytest.fixture(params=[SQLITE, KAFKA, KAFKA_AND_POSTGRES])
def storage(request: pytest.FixtureRequest, use_storage: Callable[[str], None]) -> str:
    """Run a test on each storage there is, and say on which."""
    kind: str = request.param
    use_storage(kind)
    return kind


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
