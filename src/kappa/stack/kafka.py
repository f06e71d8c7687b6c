"""The description of Kafka brokers in KRaft mode: each is broker and controller, in a quorum that is fixed.

One broker keeps one copy of everything; three keep three and acknowledge what two have, as production should.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kappa.stack.asking import ask
from kappa.stack.part import HOST, Part, Site

# The jars come by way of CLASSPATH, so that no path has to be quoted here. Formatting leaves a formatted disk alone.
_SCRIPT = """\
java -Xmx64m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \\
    kafka.tools.StorageTool format --ignore-formatted --cluster-id "$CLUSTER_ID" --config server.properties || exit
exec java -Xms128m -Xmx384m -XX:+UseG1GC -XX:MaxGCPauseMillis=50 -XX:+ExitOnOutOfMemoryError \\
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \\
    '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS' kafka.Kafka server.properties
"""

_API_VERSIONS, _CORRELATION_ID = 18, 1


def broker_names(count: int) -> tuple[str, ...]:
    """Return the names of so many brokers; they are also the names of the ports that clients use.

    >>> broker_names(3)
    ('kafka-1', 'kafka-2', 'kafka-3')
    """
    return tuple(f"kafka-{number}" for number in range(1, count + 1))


def brokers(site: Site, *, count: int) -> tuple[Part, ...]:
    """Describe a cluster of 1 or 3 brokers."""
    names = broker_names(count)
    return tuple(_broker(site, number, names) for number in range(1, count + 1))


def _broker(site: Site, number: int, names: Sequence[str]) -> Part:
    name = names[number - 1]
    ports = {each: site.ports[each] for each in (name, _controller(name))}
    settings = _settings(site, number, names)
    return Part(
        name=name,
        script=_SCRIPT,
        environment={"CLASSPATH": f"{site.software.kafka}/*", "CLUSTER_ID": site.cluster_id},
        folder=site.folder / name,
        files={"server.properties": "".join(f"{key}={value}\n" for key, value in settings.items())},
        ports=ports,
        address=f"{HOST}:{ports[name]}",
        answers=lambda: answers(ports[name]),
    )


def _settings(site: Site, number: int, names: Sequence[str]) -> dict[str, str | int]:
    name = names[number - 1]
    copies, copies_min = (3, 2) if len(names) > 1 else (1, 1)
    voters = (f"{n}@{HOST}:{site.ports[_controller(each)]}" for n, each in enumerate(names, start=1))
    return {
        "process.roles": "broker,controller",
        "node.id": number,
        "controller.quorum.voters": ",".join(voters),
        "listeners": f"CLIENTS://{HOST}:{site.ports[name]},CONTROLLERS://{HOST}:{site.ports[_controller(name)]}",
        "advertised.listeners": f"CLIENTS://{HOST}:{site.ports[name]}",
        "inter.broker.listener.name": "CLIENTS",
        "controller.listener.names": "CONTROLLERS",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLERS:PLAINTEXT",
        "log.dirs": "data",
        # A topic made by accident has the wrong number of partitions for ever.
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": copies_min,
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": 10,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": copies_min,
        "transaction.state.log.num.partitions": 10,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": copies_min,
        # A group of one does not wait for others to join.
        "group.initial.rebalance.delay.ms": 0,
        # A broker that is gone is noticed within seconds, as people at a terminal expect.
        "broker.session.timeout.ms": 6_000,
        "broker.heartbeat.interval.ms": 1_000,
        # The default buffer is 128 MB, a third of the heap; internal topics are all that is compacted.
        "log.cleaner.dedupe.buffer.size": 16 * 1024**2,
    }


def _controller(name: str) -> str:
    return f"{name}-controller"


def answers(port: int) -> bool:
    """Say whether a broker answers a request for its API versions, which it does only once it may serve clients.

    Source: https://kafka.apache.org/protocol, ApiVersions request and response, version 0.
    """
    request = struct.pack(">hhih", _API_VERSIONS, 0, _CORRELATION_ID, -1)
    answer = ask(port, struct.pack(">i", len(request)) + request, answer_bytes=10)
    _, correlation_id, error = struct.unpack(">iih", answer)
    return (correlation_id, error) == (_CORRELATION_ID, 0)
