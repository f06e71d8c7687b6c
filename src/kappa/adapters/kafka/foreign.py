"""A topic that other systems write, to be read from: whatever its name, its partitions and its durability.

Nothing is created, changed or stored in Kafka. It is read like a log: committed records, to the last stable offset.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import TopicDescription

from kappa.adapters.kafka.cluster import REQUEST_TIMEOUT_S, Cluster, cause_of
from kappa.adapters.kafka.messages import batch_of
from kappa.adapters.kafka.reading import Reader
from kappa.adapters.kafka.topics import compacted
from kappa.errors import InputError, StoreUnavailable
from kappa.model.records import RecordBatch


class ForeignTopic:
    """One topic, which exists. Not for use by two threads."""

    def __init__(self, topic: str, cluster: Cluster) -> None:
        """Look at the topic.

        Raises:
            InputError: There is none of this name.
            StoreUnavailable: Retry.
        """
        self._topic, self._cluster = topic, cluster
        described = self._described()
        self._identity = str(described.topic_id)
        self._reader = self._new_reader(described)

    @property
    def name(self) -> str:
        return self._topic

    @property
    def identity(self) -> str:
        return self._identity

    def read(self, partition: int, start: int, *, records_max: int) -> RecordBatch:
        messages, next_offset = self._reader.read(partition, start, records_max=records_max)
        # Headers mean what its producers say: an event's time is in the event, and nothing is a copy of ours.
        return batch_of(partition, messages, next_offset, copies=False)

    def starts(self) -> Mapping[int, int]:
        return self._reader.starts()

    def ends(self) -> Mapping[int, int]:
        """Return the ends of the partitions that it has by now.

        Raises:
            InputError: It was deleted, or made anew.
            StoreUnavailable: Retry.
        """
        described = self._described()
        if str(described.topic_id) != self._identity:
            raise InputError(f"the topic '{self._topic}' was deleted and made anew while it was read")
        if len(described.partitions) != self._reader.partition_count:
            self._reader.close()
            self._reader = self._new_reader(described)
        return self._reader.ends()

    def warnings(self) -> Sequence[str]:
        # Not everybody who may read a topic may see its settings.
        with suppress(StoreUnavailable):
            if compacted(self._cluster, self._topic):
                missing = "what it deletes before it is read never comes here"
                return (f"{self._topic} is compacted: it keeps the last event of each key, and {missing}",)
        return ()

    def close(self) -> None:
        self._reader.close()

    def _new_reader(self, described: TopicDescription) -> Reader:
        return Reader(self._cluster, self._topic, log=self._topic, partition_count=len(described.partitions))

    def _described(self) -> TopicDescription:
        # Unlike a request for metadata, this one never creates the topic that it asks about.
        def ask() -> TopicDescription | None:
            asked = TopicCollection([self._topic])
            try:
                answers = self._cluster.admin.describe_topics(asked, request_timeout=REQUEST_TIMEOUT_S)
                found: TopicDescription = answers[self._topic].result()
            except KafkaException as error:
                if cause_of(error).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                return None
            return found

        if (found := self._cluster.patiently(ask)) is None:
            raise self._missing()
        return found

    def _missing(self) -> InputError:
        known = self._cluster.patiently(lambda: self._cluster.admin.list_topics(timeout=REQUEST_TIMEOUT_S)).topics
        close = difflib.get_close_matches(self._topic, known, n=1)
        return InputError(
            f"there is no topic '{self._topic}' at {self._cluster.bootstrap_servers}",
            next_step=f"did you mean '{close[0]}'?" if close else "name one that exists, and its --bootstrap-servers",
        )
