"""A broker that is reached by TLS and a password only, and allows nothing but what deploy/ grants."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from servers.conftest import free_port

from kappa.adapters.kafka import cluster
from kappa.adapters.kafka.java_client import java_client
from kappa.adapters.kafka.log import KafkaLogs
from kappa.adapters.kafka.opening import client_options, open_logs
from kappa.adapters.kafka.topics import Durability
from kappa.errors import StoreUnavailable
from kappa.model.records import NewRecord, Source
from kappa.stack.kafka import brokers
from kappa.stack.part import Secrets, Site
from kappa.stack.software import install
from kappa.testing.eventually import eventually
from kappa.testing.reading import all_batches

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = 'a "pass\\word"'  # noqa: S105 - of a broker that lives for these tests
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
# Java's client, which Flink reads by, asks for the names of topics.
ASK = """
import java.io.FileInputStream;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;

class Ask {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.load(new FileInputStream(arguments[0]));
        try (Admin admin = Admin.create(settings)) {
            System.out.println(admin.listTopics().names().get());
        }
    }
}
"""


class Secured(NamedTuple):
    """A broker, and what a client needs to reach it."""

    address: str
    authority: Path
    jars: Path

    def options(self, **changed: str) -> dict[str, str]:
        options = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "kappa",
            "sasl.password": "env:KAFKA_PASSWORD",
            "ssl.ca.location": str(self.authority),
        }
        return options | {name.replace("_", "."): value for name, value in changed.items()}

    def logs(self, options: Mapping[str, str], password: str = PASSWORD) -> KafkaLogs:
        return open_logs(
            self.address,
            project="shop",
            prefix="",
            durability=Durability(replication_factor=1, min_insync_replicas=1),
            ahead_max_us=None,
            options=options,
            environment={"KAFKA_PASSWORD": password},
        )


def make_certificate(folder: Path) -> Path:
    """Write a key and a certificate for 127.0.0.1, signed by itself, and return the certificate's file."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kafka"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "keystore.pem").write_text(key.read_text() + certificate.read_text())
    return certificate


def granted_by_manifest() -> Iterator[AclBinding]:
    """Yield what deploy/ lets a project's user do."""
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "kafka.yaml").read_text())
    (user,) = [document for document in documents if document["kind"] == "KafkaUser"]
    for rule in user["spec"]["authorization"]["acls"]:
        resource = rule["resource"]
        kind = ResourceType[_words(resource["type"]).replace("CLUSTER", "BROKER")]
        pattern = ResourcePatternType.PREFIXED if resource.get("patternType") else ResourcePatternType.LITERAL
        for operation in rule["operations"]:
            allowed = AclOperation[_words(operation)], AclPermissionType.ALLOW
            yield AclBinding(kind, resource.get("name", "kafka-cluster"), pattern, "User:kappa", "*", *allowed)


def _words(name: str) -> str:
    """Return what the client calls something that Strimzi calls `someThing`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def grant(broker: Secured, rules: Iterable[AclBinding]) -> None:
    options = broker.options(sasl_username="broker", sasl_password="secret")  # noqa: S106
    admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0, **options})
    for granted in admin.create_acls(list(rules)).values():
        granted.result(30)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = make_certificate(folder)
    software = install(os.environ, say=lambda _: None, with_flink=False)
    ports = {"kafka-1": free_port(), "kafka-1-controller": free_port()}
    secrets = Secrets("", "", "", "")
    cluster = "AAAAAAAAAAAAAAAAAAAAAA"
    (part,) = brokers(Site(folder=folder, cluster_id=cluster, ports=ports, secrets=secrets, software=software), count=1)
    password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"').replace("\\", "\\\\")
    users = f'username="broker" password="secret" user_broker="secret" user_kappa="{password}"'
    properties = (
        part.files["server.properties"]
        .replace("CLIENTS:PLAINTEXT", "CLIENTS:SASL_SSL")
        # As brokers do by default.
        .replace("auto.create.topics.enable=false", "auto.create.topics.enable=true")
    ) + (
        f"sasl.enabled.mechanisms=PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN\n"
        f"listener.name.clients.plain.sasl.jaas.config={LOGIN} {users};\n"
        f"ssl.keystore.type=PEM\nssl.keystore.location={folder / 'keystore.pem'}\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={authority}\n"
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
        "super.users=User:broker;User:ANONYMOUS\n"  # nobody but the controller is anonymous
    )
    part = dataclasses.replace(part, files={"server.properties": properties})
    part.folder.mkdir()
    (part.folder / "server.properties").write_text(properties)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            ["/bin/sh", "-c", part.script],
            cwd=part.folder,
            env={**os.environ, **part.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        broker = Secured(part.address, authority, software.kafka)
        try:
            eventually(lambda: reachable(broker), timeout_s=120)
            grant(broker, granted_by_manifest())
            yield broker
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def reachable(broker: Secured) -> bool:
    logs = broker.logs(broker.options())
    try:
        logs.names()
    except StoreUnavailable:
        return False
    finally:
        logs.close()
    return True


def test_a_log_is_written_and_read_over_tls_with_a_password(secured: Secured) -> None:
    logs = secured.logs(secured.options())
    with logs.open("events", partition_count=2) as log:
        log.append([NewRecord(b"ana", b"1")])
        log.append([NewRecord(b"ana", b"2")], source=Source("file", expected=None, state="1"))

        assert [record.value for batch in all_batches(log) for record in batch] == [b"1", b"2"]
    logs.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_TIMEOUT_S", 2.0)
    monkeypatch.setattr(cluster, "REQUEST_TIMEOUT_S", 2.0)


@pytest.mark.usefixtures("impatient")
def test_a_wrong_password_is_told_and_not_shown(secured: Secured) -> None:
    logs = secured.logs(secured.options(), password="wrong-secret")  # noqa: S106

    with pytest.raises(StoreUnavailable, match="uthentication failed") as refusal:
        logs.names()

    assert "wrong-secret" not in str(refusal.value)
    logs.close()


@pytest.mark.usefixtures("impatient")
def test_a_broker_whose_certificate_nobody_vouches_for_is_not_trusted(secured: Secured, tmp_path: Path) -> None:
    logs = secured.logs(secured.options(ssl_ca_location=str(make_certificate(tmp_path))))

    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        logs.names()

    logs.close()


def test_javas_client_is_given_the_same_in_its_own_words(secured: Secured, tmp_path: Path) -> None:
    options = client_options(secured.options(), {"KAFKA_PASSWORD": PASSWORD})
    settings = {"bootstrap.servers": secured.address, **java_client(options)}
    lines = [f"{name}={value}\n".replace("\\", "\\\\") for name, value in settings.items()]
    (tmp_path / "settings.properties").write_text("".join(lines))
    (tmp_path / "Ask.java").write_text(ASK)

    asked = subprocess.run(
        ["/usr/bin/env", "java", "-cp", f"{secured.jars}/*", "Ask.java", "settings.properties"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert asked.stdout.startswith("["), asked.stderr
