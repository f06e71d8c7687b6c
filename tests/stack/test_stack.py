"""A small stack, really up: what died is started again, and nothing is stopped that is not its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from kappa.errors import InputError
from kappa.stack import Stack
from kappa.testing.stacks import passing_folder

pytestmark = pytest.mark.slow

MAIN = "from kappa.cli import main; main()"


class Terminal:
    """`kappa stack` in a folder, each command in a process of its own, as people type them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        command = [sys.executable, "-c", MAIN, "stack", *arguments, "--folder", str(self.folder), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    def pids(self, *, code: int = 0) -> dict[str, int | None]:
        return {part["name"]: part["pid"] for part in self("status", code=code)}


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    with passing_folder() as folder:
        terminal = Terminal(folder)
        terminal("up", "--small", "--taskmanagers", "0")
        yield terminal


def test_a_part_that_died_is_started_again_and_the_others_are_left_alone(terminal) -> None:
    before = terminal.pids()
    for part in ("kafka-1", "postgres"):
        os.kill(before[part], signal.SIGKILL)
    states = {part["name"]: part["state"] for part in terminal("status", code=1)}

    terminal("up")

    after = terminal.pids()
    assert (states["kafka-1"], states["postgres"], states["s3"]) == ("stopped", "stopped", "ready")
    assert {name for name in before if before[name] != after[name]} == {"kafka-1", "postgres"}


def test_what_is_up_serves_clients_that_are_told_by_the_environment_alone(terminal) -> None:
    variables = terminal("env")
    script = """if True:
        import os, boto3, psycopg
        from confluent_kafka.schema_registry import SchemaRegistryClient
        print(sorted(bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]))
        print(psycopg.connect("").execute("SELECT current_database()").fetchone()[0])
        print(SchemaRegistryClient({"url": os.environ["SCHEMA_REGISTRY_URL"]}).get_subjects())
    """
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines() == ["['kappa-bundles', 'kappa-checkpoints']", "kappa", "[]"], done.stderr
    admin = AdminClient({"bootstrap.servers": variables["KAFKA_BOOTSTRAP_SERVERS"]})
    assert admin.create_topics([NewTopic("orders", 10, 1)])["orders"].result(10) is None


def test_secrets_are_in_files_of_their_owner_and_nowhere_else(terminal) -> None:
    secrets = json.loads((terminal.folder / "secrets.json").read_text())
    told = json.dumps([terminal("env"), terminal("logs"), terminal("status"), terminal("up")])

    for file in ("secrets.json", "pgpass", "s3-credentials"):
        assert stat.S_IMODE((terminal.folder / file).stat().st_mode) == 0o600, file
    assert not [name for name, value in secrets.items() if value in told + (terminal.folder / "stack.json").read_text()]


def test_whoever_has_no_password_is_refused(terminal) -> None:
    variables = terminal("env")

    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|authentication failed"):
        psycopg.connect(host=variables["PGHOST"], port=variables["PGPORT"], user="postgres", passfile="/nonexistent")


def test_a_stack_keeps_its_size(terminal) -> None:
    with pytest.raises(InputError, match="the stack here has 1 brokers, not 3, and a stack keeps its size"):
        Stack(terminal.folder, small=False).up()


def test_a_part_that_does_not_exist_is_refused_with_those_that_do(terminal) -> None:
    assert "no part of the stack is called 'kafka-9'" in terminal("logs", "kafka-9", code=1)
    assert "next:  choose one of: kafka-1, postgres, s3, registry" in terminal("logs", "kafka-9", code=1)


def test_down_stops_its_own_and_up_finds_another_port_if_its_own_was_taken(terminal) -> None:
    """The last test here, for it takes the stack down."""
    with subprocess.Popen(["/bin/sleep", "600"]) as somebody_else:
        # As if the id of a part that died had been given to another process.
        inventory = json.loads((terminal.folder / "stack.json").read_text())
        os.kill(inventory["processes"]["s3"]["pid"], signal.SIGKILL)
        inventory["processes"]["s3"]["pid"] = somebody_else.pid
        (terminal.folder / "stack.json").write_text(json.dumps(inventory))

        assert set(terminal("down")["stopped"]) == {"kafka-1", "postgres", "registry"}
        assert somebody_else.poll() is None
        somebody_else.kill()
    assert set(terminal.pids(code=1).values()) == {None}
    assert terminal("down") == {"stopped": []}

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", inventory["ports"]["kafka-1"]))
        listener.listen()
        terminal("up")

        assert terminal("env")["KAFKA_BOOTSTRAP_SERVERS"] != f"127.0.0.1:{inventory['ports']['kafka-1']}"
        assert None not in terminal.pids().values()
