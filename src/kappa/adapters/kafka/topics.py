"""The topics of logs: how they are created, and whether one that exists can be a log.

What would lose events or their order is refused: compaction, another number of partitions. What only makes it likelier
is said: too few replicas, too short a retention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource, NewTopic, TopicMetadata

from kappa.adapters.kafka.cluster import REQUEST_TIMEOUT_S, Cluster, cause_of
from kappa.errors import ProjectError
from kappa.ports.log import EVENT_LOG, RECORD_BYTES_MAX

# With a record of the largest size, its headers, and what a batch takes for itself.
BATCH_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024
# The topic beside a log's, in which the states of its sources are.
SOURCES = ".sources"

_COMPACT = "compact"
_DAY_MS = 24 * 60 * 60 * 1000
_LOG = re.compile(rf"{EVENT_LOG}(-by-[^.]+)?")
_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")


class Durability(msgspec.Struct, frozen=True):
    """How well a log is kept.

    Attributes:
        replication_factor: Copies of each partition.
        min_insync_replicas: Copies that must have a record before it counts as appended.
        retention_days: How long a record stays, counted from its append.
    """

    replication_factor: int = 3
    min_insync_replicas: int = 2
    retention_days: int = 365


class Topics:
    """The topics of all logs with one prefix."""

    def __init__(self, cluster: Cluster, prefix: str, durability: Durability) -> None:
        self._cluster, self._prefix, self._durability = cluster, prefix, durability

    def name(self, log: str) -> str:
        """Return the topic of a log.

        Raises:
            ProjectError: Kafka has no such names.
        """
        topic = self._prefix + log
        if not _LEGAL.fullmatch(topic + SOURCES):
            raise ProjectError(
                f"'{topic}' cannot be the name of a topic: Kafka allows letters, digits, '.', '_' and '-'",
                next_step="set kafka.topic_prefix in kappa.toml",
            )
        return topic

    def logs(self) -> Sequence[str]:
        """Return the names of the logs that exist, sorted."""
        found = self._cluster.patiently(lambda: self._cluster.admin.list_topics(timeout=REQUEST_TIMEOUT_S)).topics
        # Topics of others may begin alike.
        mine = [topic.removeprefix(self._prefix) for topic in found if topic.startswith(self._prefix)]
        return sorted(log for log in mine if _LOG.fullmatch(log) and log + SOURCES in mine)

    def require(self, log: str, *, partition_count: int) -> None:
        """Create a log's topics if they are missing, and refuse what exists with another number of partitions.

        Raises:
            ProjectError: It cannot be this log, or the brokers do not allow it.
            StoreUnavailable: Retry.
        """
        topic = self.name(log)
        found = self._find(topic)
        if found is None:
            self._create(topic, self._log_settings(), partition_count)
            found = self._cluster.patiently(lambda: self._led(topic))
        sources = self._find(topic + SOURCES)
        if sources is None:
            self._create(topic + SOURCES, self._sources_settings(), 1)
            sources = self._cluster.patiently(lambda: self._led(topic + SOURCES))
        if len(sources.partitions) != 1:
            raise ProjectError(
                f"the topic {topic + SOURCES} has {len(sources.partitions)} partitions, not 1: somebody else made it",
                next_step="delete it if nothing was appended to the log yet; kappa makes it as it must be",
            )
        if (count := len(found.partitions)) != partition_count:
            raise _other_partitions(log, count, wanted=partition_count)

    def check(self, log: str) -> Sequence[str]:
        """Say what is wrong with a log's topic and can be lived with, a sentence each.

        Raises:
            ProjectError: It cannot be lived with: the topic is compacted.
            StoreUnavailable: Retry.
        """
        topic = self.name(log)
        settings = _settings(self._cluster, topic)
        if _COMPACT in settings["cleanup.policy"]:
            raise ProjectError(
                f"the topic {topic} is compacted: Kafka deletes events that have a later one with the same key",
                next_step=f"kafka-configs --alter --entity-type topics --entity-name {topic} "
                "--add-config cleanup.policy=delete; what it has deleted is lost, so ingest it anew",
            )
        metadata = self._cluster.patiently(lambda: self._led(topic))
        warnings = list(_warnings(topic, settings, metadata, self._durability))
        if _COMPACT not in _settings(self._cluster, topic + SOURCES)["cleanup.policy"]:
            warnings.append(f"{topic + SOURCES} is not compacted: retention deletes how far each source was ingested")
        return warnings

    def _find(self, topic: str) -> TopicMetadata | None:
        found = self._cluster.patiently(lambda: self._cluster.admin.list_topics(topic, timeout=REQUEST_TIMEOUT_S))
        metadata = found.topics[topic]
        return metadata if metadata.error is None else None

    def _led(self, topic: str) -> TopicMetadata:
        """Return a topic whose partitions all have a leader; raises what Kafka would, if they have none yet."""
        metadata: TopicMetadata = self._cluster.admin.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        if any(partition.leader < 0 for partition in metadata.partitions.values()):
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return metadata

    def _create(self, topic: str, settings: Mapping[str, str], partition_count: int) -> None:
        new = NewTopic(topic, partition_count, self._durability.replication_factor, config=dict(settings))

        def create() -> None:
            try:
                self._cluster.admin.create_topics([new], request_timeout=REQUEST_TIMEOUT_S)[topic].result()
            except KafkaException as error:
                if cause_of(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was faster
                    raise

        self._cluster.patiently(create)

    def _log_settings(self) -> Mapping[str, str]:
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self._durability.retention_days * _DAY_MS),
            "retention.bytes": "-1",
            "segment.ms": str(_DAY_MS),
            "min.insync.replicas": str(self._durability.min_insync_replicas),
            # Retention counts from it: history that is ingested today must not expire today.
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(BATCH_BYTES_MAX),
            # A replica that was not in sync lacks records that were acknowledged.
            "unclean.leader.election.enable": "false",
        }

    def _sources_settings(self) -> Mapping[str, str]:
        return {
            "cleanup.policy": "compact",
            "min.insync.replicas": str(self._durability.min_insync_replicas),
            # It is read from its start by whoever begins to append: small segments are compacted soon.
            "segment.bytes": str(16 * 1024**2),
            "unclean.leader.election.enable": "false",
        }


def compacted(cluster: Cluster, topic: str) -> bool:
    """Say whether a topic, of whomever, loses records that have a later one with the same key.

    Raises:
        StoreUnavailable: No answer, or it may not be seen.
    """
    return _COMPACT in _settings(cluster, topic)["cleanup.policy"]


def _settings(cluster: Cluster, topic: str) -> Mapping[str, str]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)

    def ask() -> Mapping[str, str]:
        answers = cluster.admin.describe_configs([resource], request_timeout=REQUEST_TIMEOUT_S)
        return {name: entry.value or "" for name, entry in answers[resource].result().items()}

    return cluster.patiently(ask)


def _other_partitions(log: str, count: int, *, wanted: int) -> ProjectError:
    next_step = f"set partitions = {count} in kappa.toml: a log keeps its partitions for ever"
    if count > wanted:
        next_step = (
            f"if it always had so many, set partitions = {count} in kappa.toml; if it has grown, the events of a key "
            "now lie in two partitions: copy it into a new log: kappa ingest --from-kafka TOPIC"
        )
    return ProjectError(f"the log '{log}' has {count} partitions, not {wanted}", next_step=next_step)


def _warnings(
    topic: str, settings: Mapping[str, str], metadata: TopicMetadata, durability: Durability
) -> Sequence[str]:
    warnings = []
    replicas = min(len(partition.replicas) for partition in metadata.partitions.values())
    if replicas < durability.replication_factor:
        warnings.append(f"{topic} has {replicas} replicas of a partition, not {durability.replication_factor}")
    if (insync := int(settings["min.insync.replicas"])) < durability.min_insync_replicas:
        warnings.append(f"{topic} acknowledges what {insync} replicas have, not {durability.min_insync_replicas}")
    retention_ms = int(settings["retention.ms"])
    if 0 <= retention_ms < durability.retention_days * _DAY_MS:
        days = retention_ms / _DAY_MS
        warnings.append(f"{topic} deletes events after {days:g} days, not {durability.retention_days}")
    if (retention_bytes := int(settings["retention.bytes"])) >= 0:
        warnings.append(f"{topic} deletes events beyond {retention_bytes:,} bytes of a partition, whatever their age")
    if settings["message.timestamp.type"] != "LogAppendTime":
        warnings.append(f"{topic} keeps producers' times: retention deletes old events as soon as they are appended")
    if int(settings["max.message.bytes"]) < BATCH_BYTES_MAX:
        warnings.append(f"{topic} takes batches of {settings['max.message.bytes']} bytes, not {BATCH_BYTES_MAX}")
    if settings["unclean.leader.election.enable"] == "true":
        warnings.append(f"{topic} may be led by a replica that lacks acknowledged events")
    return warnings
