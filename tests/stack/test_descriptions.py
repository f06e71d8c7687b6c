"""What the parts of a stack are told: values made of values, so nothing has to run."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from kappa.stack.flink import flink
from kappa.stack.inventory import new_inventory
from kappa.stack.kafka import brokers
from kappa.stack.part import Part, Site
from kappa.stack.postgres import postgres
from kappa.stack.registry import registry
from kappa.stack.s3 import s3


def parts_of(site: Site, *, count: int = 3) -> tuple[Part, ...]:
    assert site.software.flink is not None
    of_flink = flink(site, site.software.flink, task_managers=2)
    return (*brokers(site, count=count), postgres(site), s3(site), registry(site), *of_flink)


def flink_settings_of(part: Part) -> dict[str, str]:
    lines = (line.split(": ", 1) for line in part.files["config.yaml"].splitlines())
    return {key: str(json.loads(value)) for key, value in lines}


def settings_of(broker: Part) -> dict[str, str]:
    return dict(line.split("=", 1) for line in broker.files["server.properties"].splitlines())


@pytest.mark.parametrize(("count", "copies", "copies_min"), [(1, "1", "1"), (3, "3", "2")])
def test_brokers_keep_as_many_copies_as_there_are_brokers(site, count, copies, copies_min) -> None:
    settings = settings_of(brokers(site, count=count)[0])

    for prefix in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic", "default"):
        assert settings[f"{prefix}.replication.factor"] == copies, prefix
    for name in ("min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"):
        assert settings[name] == copies_min, name
    assert settings["auto.create.topics.enable"] == "false"


def test_all_brokers_name_one_quorum_and_each_its_own_place_in_it(site) -> None:
    settings = [settings_of(broker) for broker in brokers(site, count=3)]
    (voters,) = {each["controller.quorum.voters"] for each in settings}

    assert [each["node.id"] for each in settings] == ["1", "2", "3"]
    for each in settings:
        assert f"{each['node.id']}@{each['listeners'].split('CONTROLLERS://')[1]}" in voters.split(",")


def test_everything_listens_on_loopback_only(site) -> None:
    parts = {part.name: part for part in parts_of(site)}

    for name in ("kafka-1", "kafka-2", "kafka-3"):
        assert set(re.findall(r"://([^:]*):", settings_of(parts[name])["listeners"])) == {"127.0.0.1"}
    assert parts["postgres"].environment["HOST"] == "127.0.0.1"
    assert 'listen_addresses="$HOST"' in parts["postgres"].script
    assert parts["s3"].environment["ADDRESS"].startswith("127.0.0.1:")
    assert {value for key, value in parts["registry"].environment.items() if key.endswith("_HOST")} == {"127.0.0.1"}
    for name in ("jobmanager", "taskmanager-1", "taskmanager-2"):
        settings = flink_settings_of(parts[name])
        addresses = {value for key, value in settings.items() if re.search(r"(address|host)$", key)}
        assert addresses == {"127.0.0.1"}, name


def test_no_two_parts_share_a_port_or_a_folder(site) -> None:
    parts = parts_of(site)
    ports = [port for part in parts for port in part.ports.values()]

    assert len(ports) == len(set(ports)) == 20
    assert len({part.folder for part in parts}) == len(parts)


def test_no_secret_is_on_a_command_line_or_in_an_address(site) -> None:
    for part in parts_of(site):
        assert not re.search("secret", part.script + part.address), part.name


def test_a_part_waits_only_for_what_it_cannot_start_without(site) -> None:
    assert {part.name: part.needs for part in parts_of(site) if part.needs} == {
        "registry": ("postgres",),
        "taskmanager-1": ("jobmanager",),
        "taskmanager-2": ("jobmanager",),
    }


def test_the_settings_of_a_taskmanager_add_up_to_the_sizes_that_its_jvm_is_started_with(site) -> None:
    part = parts_of(site)[-1]
    memory = {
        key.removeprefix("taskmanager.memory."): int(value.removesuffix("m"))
        for key, value in flink_settings_of(part).items()
        if key.startswith("taskmanager.memory.")
    }

    heap = memory["framework.heap.size"] + memory["task.heap.size"]
    direct = memory["framework.off-heap.size"] + memory["task.off-heap.size"] + memory["network.max"]
    assert f"-Xmx{heap}m" in part.script
    assert f"-XX:MaxDirectMemorySize={direct}m" in part.script
    assert f"-XX:MaxMetaspaceSize={memory['jvm-metaspace.size']}m" in part.script
    assert flink_settings_of(part)["taskmanager.numberOfTaskSlots"] == "1"


def test_a_taskmanager_that_imported_other_code_is_replaced_and_nothing_else(site) -> None:
    before = {part.name: part.fingerprint for part in parts_of(site)}
    changed = replace(site.software.flink, modules_hash="ba9876543210")
    after = {
        part.name: part.fingerprint for part in parts_of(replace(site, software=replace(site.software, flink=changed)))
    }

    assert {name for name in before if after[name] != before[name]} == {"taskmanager-1", "taskmanager-2"}


def test_a_description_that_changes_has_another_fingerprint(site) -> None:
    before = {part.name: part.fingerprint for part in parts_of(site)}
    unchanged = {part.name: part.fingerprint for part in parts_of(site)}
    moved = replace(site, ports={**site.ports, "kafka-2-controller": 1, "postgres": 2})
    after = {part.name: part.fingerprint for part in parts_of(moved)}

    assert unchanged == before
    # All brokers name the quorum, and the registry its database.
    assert {name for name in before if after[name] != before[name]} == {
        *("kafka-1", "kafka-2", "kafka-3", "postgres", "registry"),
    }


def test_the_id_of_a_cluster_is_one_that_kafka_accepts_and_no_option() -> None:
    for _ in range(100):
        assert re.fullmatch("A[A-Za-z0-9_-]{21}", new_inventory(brokers=1).cluster_id)
