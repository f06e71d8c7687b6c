"""Finding, fetching and building what a stack runs, with programs on PATH that stand for Maven, Go and Java."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kappa.errors import InputError
from kappa.stack.errors import InstallFailed, ToolMissing
from kappa.stack.software import BRIDGE_JAR, install
from kappa.stack.tools import GO, JAVA, MAVEN, POSTGRES, check_entrance, postgres_folder, require_java


class Programs:
    """A folder of programs, which is all of PATH but the shell's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "programs"
        self.folder.mkdir()
        self.environment = {"PATH": f"{self.folder}:/bin", "KAPPA_CACHE": str(folder / "cache")}
        self.cache = folder / "cache"

    def add(self, name: str, script: str) -> None:
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)


@pytest.fixture
def programs(tmp_path) -> Programs:
    programs = Programs(tmp_path)
    programs.add("postgres", "")
    programs.add("initdb", "")
    programs.add(
        "mvn",
        f'echo mvn >>{tmp_path}/calls; cd "$(dirname "$4")"; mkdir kafka registry target; touch target/{BRIDGE_JAR}',
    )
    programs.add("go", f'echo go >>{tmp_path}/calls; touch "$GOBIN/versitygw"')
    return programs


def test_software_is_installed_once_and_said_to_be(programs, tmp_path) -> None:
    said: list[str] = []
    software = install(programs.environment, say=said.append, with_flink=False)

    assert software.kafka.is_dir()
    assert software.registry.is_dir()
    assert software.gateway.is_file()
    assert [line.split(" ")[0] for line in said] == ["installing", "installed"] * 2

    assert install(programs.environment, say=said.append, with_flink=False) == software
    assert len(said) == 4
    assert (tmp_path / "calls").read_text() == "mvn\ngo\n"


def test_what_flink_needs_is_built_from_the_sources_at_hand(programs, tmp_path) -> None:
    said: list[str] = []
    software = install(programs.environment, say=said.append, with_flink=True)

    assert software.flink is not None
    assert (software.flink.bridge / BRIDGE_JAR).is_file()
    assert said[-2].startswith("installing kappa's operators for Flink in ")
    assert install(programs.environment, say=said.append, with_flink=True) == software
    assert (tmp_path / "calls").read_text() == "mvn\ngo\nmvn\n"


def test_what_cannot_be_fetched_says_why_and_leaves_nothing(programs) -> None:
    programs.add("mvn", "mkdir -p half; echo Could not transfer artifact; exit 1")

    with pytest.raises(InstallFailed) as raised:
        install(programs.environment, say=lambda _: None, with_flink=False)

    assert (
        raised.value.message
        == "could not install Kafka, the schema registry and connectors:\nCould not transfer artifact"
    )
    assert [each.name for each in programs.cache.iterdir()] == ["lock"]


@pytest.mark.parametrize("tool", [JAVA, MAVEN, GO, POSTGRES], ids=lambda tool: tool.name)
def test_a_missing_program_is_named_with_what_brings_it(tool, tmp_path) -> None:
    with pytest.raises(ToolMissing, match=f"{tool.name} is not installed: ") as raised:
        tool.find({"PATH": str(tmp_path)})

    assert f"apt-get install {tool.package} " in (raised.value.next_step or "")


def test_java_must_be_new_enough(programs) -> None:
    with pytest.raises(ToolMissing, match="java is not installed: Kafka, the schema registry and Flink run on it"):
        require_java({"PATH": str(programs.folder)})

    programs.add("java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    with pytest.raises(ToolMissing, match=r"java 11\.0\.2 is older than 17: Kafka"):
        require_java(programs.environment)

    programs.add("java", "echo 'openjdk version \"21\" 2023-09-19' >&2")
    assert require_java(programs.environment) == "21"


def test_the_newest_postgresql_of_the_system_is_taken_when_none_is_on_the_path(tmp_path) -> None:
    for version in ("9.6", "15", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb"):
            (tmp_path / version / "bin" / program).touch()

    assert postgres_folder({"PATH": ""}, installed=tmp_path) == tmp_path / "17" / "bin"
    with pytest.raises(ToolMissing, match="postgres is not installed"):
        postgres_folder({"PATH": ""}, installed=tmp_path / "17")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_a_folder_that_postgresqls_user_cannot_enter_is_refused(tmp_path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    tmp_path.chmod(0o755)

    with pytest.raises(InputError, match="PostgreSQL runs as 'nobody', who cannot enter ") as raised:
        check_entrance("nobody", closed / "stack")

    assert raised.value.next_step == "keep the stack elsewhere: kappa stack up --folder /var/lib/kappa-stack"
