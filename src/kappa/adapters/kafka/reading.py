"""Read the partitions of one topic: committed records only, from any offset, without waiting for new ones.

A consumer without a group, which fetches from one partition at a time: whoever folds stays with a partition for a
while, so what was fetched ahead of a change is little. No offset is ever committed to Kafka; progress is in the view
store, with the rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property

from confluent_kafka import Consumer, IsolationLevel, KafkaError, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec

from kappa.adapters.kafka.cluster import ANSWER_TIMEOUT_S, EARLIEST, LATEST, Cluster
from kappa.errors import HistoryLost

_SETTINGS = {
    # The client library asks for a group's name; nothing is stored under it.
    "group_id": "kappa",
    "enable_auto_commit": False,
    "isolation_level": "read_committed",
    "auto_offset_reset": "error",
    # Tells the end from records that are still to come: behind the last record may lie marks of transactions.
    "enable_partition_eof": True,
    # How long a broker keeps a request at the end of a partition. A change to another partition waits for it.
    "fetch_wait_max_ms": 5,
    "fetch_queue_backoff_ms": 10,
    # Fetched ahead, and thrown away by a change to another partition: half a second's work.
    "queued_max_messages_kbytes": 32 * 1024,
}
_WAIT_S = 0.1


class Reader:
    """Reads one topic. Not for use by two threads.

    Attributes:
        partition_count: Of the topic, when this was made.
    """

    def __init__(self, cluster: Cluster, topic: str, *, log: str, partition_count: int) -> None:
        """Prepare to read; `log` is what errors call the topic."""
        self._cluster, self._topic, self._log = cluster, topic, log
        self.partition_count = partition_count
        # Partition and offset that the consumer gives next, if it is assigned.
        self._at: tuple[int, int] | None = None
        self._ends: dict[int, int] = {}

    @cached_property
    def _consumer(self) -> Consumer:
        with self._cluster.errors():
            return Consumer(self._cluster.settings(**_SETTINGS))

    def starts(self) -> dict[int, int]:
        """Return the first retained offset of every partition."""
        return self._cluster.offsets(self._topic, range(self.partition_count), EARLIEST)

    def ends(self) -> dict[int, int]:
        """Return every partition's last stable offset: before it no transaction is open."""
        self._ends = self._cluster.offsets(self._topic, range(self.partition_count), LATEST)
        return dict(self._ends)

    def ends_uncommitted(self) -> dict[int, int]:
        """Return every partition's end with what may still be aborted."""
        return self._cluster.offsets(
            self._topic, range(self.partition_count), LATEST, isolation=IsolationLevel.READ_UNCOMMITTED
        )

    def offsets_from(self, appended_at_us: int) -> dict[int, int]:
        """Return the first offset of every partition that was appended at this time or later, or its end."""
        ends = self.ends()  # asked first: what is appended meanwhile lies behind them
        # Brokers count milliseconds, and read negative ones as other questions.
        spec = OffsetSpec.for_timestamp(max(0, appended_at_us // 1_000))
        found = self._cluster.offsets(self._topic, range(self.partition_count), spec)
        return {partition: ends[partition] if offset < 0 else offset for partition, offset in found.items()}

    def read(self, partition: int, start: int, *, records_max: int) -> tuple[Sequence[Message], int]:
        """Return committed records from `start` on, and where to read on. At the end there are none.

        Raises:
            HistoryLost: `start` lies before the first retained offset.
            StoreUnavailable: No answer in time.
        """
        if start >= self._ends.get(partition, 0):
            self._ends |= self._cluster.offsets(self._topic, [partition], LATEST)
            if start >= self._ends[partition]:
                self._rest(partition)
                return [], start
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        records: Sequence[Message] = ()
        next_offset = start
        with self._cluster.errors():
            self._go_to(partition, start)
            # The end was read before anything is fetched, so there is something before it, be it a mark only.
            while next_offset < self._ends[partition]:
                records, next_offset = self._sift(self._fetch(records_max), partition, next_offset)
                if records:
                    break
                if time.monotonic() >= deadline:
                    raise self._cluster.unavailable(
                        None, doing=f"no answer from the leader of {self._log}[{partition}]"
                    )
        self._at = partition, next_offset
        return records, next_offset

    def _fetch(self, records_max: int) -> list[Message]:
        if messages := self._consumer.consume(records_max, 0):
            return messages
        # Given more than one to wait for, the client waits for all of them.
        messages = self._consumer.consume(1, _WAIT_S)
        if messages and records_max > 1:
            messages += self._consumer.consume(records_max - 1, 0)
        return messages

    def _sift(self, messages: list[Message], partition: int, start: int) -> tuple[list[Message], int]:
        """Return the records among what the consumer gave, and where to read on."""
        events = [(error, message) for message in messages if (error := message.error()) is not None]
        records = [message for message in messages if message.error() is None] if events else messages
        next_offset = offset_of(records[-1]) + 1 if records else start
        for error, event in events:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - that is its name
                next_offset = max(next_offset, offset_of(event))
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
                first = self.starts()[partition]
                if start < first:
                    raise HistoryLost(log=self._log, partition=partition, wanted=start, first=first)
                raise self._cluster.unavailable(error)
            elif not error.retriable() and error.code() not in _PASSING:
                raise self._cluster.unavailable(error)
        return records, next_offset

    def _go_to(self, partition: int, start: int) -> None:
        if self._at != (partition, start):
            self._consumer.assign([TopicPartition(self._topic, partition, start)])
        # Until something has come from there: after an error it is assigned anew.
        self._at = None

    def _rest(self, partition: int) -> None:
        """Fetch no more from a partition that is read to its end: brokers would be asked again and again."""
        if self._at is not None and self._at[0] == partition:
            self._consumer.unassign()
            self._at = None

    def close(self) -> None:
        """Close the consumer. Idempotent."""
        if "_consumer" in self.__dict__:
            self.__dict__.pop("_consumer").close()
            self._at = None


# The client goes on by itself after these.
_PASSING = frozenset(
    {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError.UNKNOWN_TOPIC_OR_PART}  # noqa: SLF001
)


def offset_of(message: Message) -> int:
    """Return the offset of a record that was fetched."""
    offset = message.offset()
    assert offset is not None, "a record that was fetched has its place"
    return offset
