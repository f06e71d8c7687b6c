"""A schema registry and an S3 gateway of the tests' own, on free ports, gone when the tests are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from kappa.testing.eventually import eventually

CACHE = Path(
    os.environ.get("KAPPA_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kappa"
)


class Server(NamedTuple):
    """A process that answers at an address."""

    url: str
    process: subprocess.Popen[bytes]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """While it is entered, connections are accepted and nobody answers."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def software(pattern: str) -> Path:
    found = sorted(CACHE.glob(pattern))
    if not found:
        pytest.skip("its software is not on this machine: kappa stack install")
    return found[-1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - a server of ours
            return True
    except urllib.error.HTTPError:
        return True  # it refuses, so it is there
    except OSError:
        return False


@contextmanager
def served(command: Sequence[str], environment: Mapping[str, str], url: str, folder: Path) -> Iterator[Server]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=folder, stdout=output, stderr=output)
    try:
        eventually(lambda: process.poll() is not None or answers(url), timeout_s=60, what=url)
        assert process.poll() is None, (folder / "output").read_text()[-2000:]
        yield Server(url, process)
    finally:
        process.kill()
        process.wait()


def registry(folder: Path, port: int) -> Iterator[Server]:
    (management,) = free_ports(1)
    environment = {
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
        "QUARKUS_MANAGEMENT_PORT": str(management),
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "h2",
        "APICURIO_DATASOURCE_URL": "jdbc:h2:mem:registry",
    }
    jar = software("jars-*/registry/apicurio-registry-app-*-runner.jar")
    command = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-jar", str(jar)]
    with served(command, environment, f"http://127.0.0.1:{port}/apis/ccompat/v7/subjects", folder) as server:
        yield server._replace(url=server.url.removesuffix("/subjects"))


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The registry, for all tests."""
    yield from registry(tmp_path_factory.mktemp("registry"), free_ports(1)[0])


class Gateway(NamedTuple):
    """An S3 gateway, and the folder in which it keeps each bucket as a folder."""

    server: Server
    folder: Path

    @property
    def url(self) -> str:
        return self.server.url


def gateway(folder: Path, port: int) -> Iterator[Gateway]:
    command = [str(software("versitygw-*/versitygw")), "--quiet", "--port", f"127.0.0.1:{port}"]
    command += ["posix", str(folder)]
    environment = {"ROOT_ACCESS_KEY": "tests", "ROOT_SECRET_KEY": "secret-of-tests"}
    with served(command, environment, f"http://127.0.0.1:{port}/", folder) as server:
        yield Gateway(server, folder)


@pytest.fixture(scope="session")
def _gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from gateway(tmp_path_factory.mktemp("s3"), free_ports(1)[0])


@pytest.fixture
def s3(_gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The gateway, for all tests; credentials are in the environment, as boto3 expects them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return _gateway


@pytest.fixture
def bucket(s3: Gateway, request: pytest.FixtureRequest) -> str:
    """A bucket that nobody has used."""
    name = f"bucket-{len(list(s3.folder.iterdir()))}"
    (s3.folder / name).mkdir()
    return name
