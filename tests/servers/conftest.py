"""The registry of the tests' stack, and an S3 gateway whose disk and life a test may have to itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from kappa.stack import Stack
from kappa.stack.software import install
from kappa.testing.eventually import eventually


class Registry(NamedTuple):
    """The schema registry of a stack."""

    stack: Stack

    @property
    def url(self) -> str:
        return self.stack.address("registry")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """While it is entered, connections are accepted and nobody answers."""
        self.stack.kill("registry", signal.SIGSTOP)
        try:
            yield
        finally:
            self.stack.kill("registry", signal.SIGCONT)


@pytest.fixture(scope="session")
def registry_server(small_stack: Stack) -> Registry:
    """The registry, for all tests."""
    return Registry(small_stack)


class Gateway(NamedTuple):
    """An S3 gateway, and the folder in which it keeps each bucket as a folder."""

    url: str
    folder: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@contextmanager
def gateway(folder: Path, port: int) -> Iterator[Gateway]:
    """Run a gateway while the block runs."""
    program = install(os.environ, say=print, with_flink=False).gateway
    command = [str(program), "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(folder)]
    environment = {**os.environ, "ROOT_ACCESS_KEY": "tests", "ROOT_SECRET_KEY": "secret-of-tests"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(url) or process.poll() is not None, what=url)
        assert process.poll() is None, process.returncode
        yield Gateway(url, folder)
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - a server of ours
            return True
    except urllib.error.HTTPError as refusal:  # it refuses who signs nothing, so it is there
        refusal.close()
        return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def _gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("s3"), free_port()) as running:
        yield running


@pytest.fixture
def s3(_gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The gateway, for all tests; credentials are in the environment, as boto3 expects them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return _gateway


@pytest.fixture
def bucket(s3: Gateway) -> str:
    """A bucket that nobody has used."""
    name = f"bucket-{len(list(s3.folder.iterdir()))}"
    (s3.folder / name).mkdir()
    return name
