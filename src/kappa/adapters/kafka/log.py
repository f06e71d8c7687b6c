"""The log on Kafka: a topic per log, and beside it a compacted one with the states of its sources.

Two ways to append exactly once. Into the event log: records and their source's state in one transaction. Into a
repartitioned log: copies by an idempotent producer, then the state; whoever is killed in between copies some again,
and readers pass over them by their origin (`kappa.model.interleaving`), so that this needs no transaction of Kafka's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from kappa.adapters.kafka.cluster import Cluster
from kappa.adapters.kafka.messages import batch_of
from kappa.adapters.kafka.reading import Reader
from kappa.adapters.kafka.sending import Sender
from kappa.adapters.kafka.sources import Owner, States
from kappa.adapters.kafka.topics import SOURCES, Durability, Topics
from kappa.errors import RecordTooLarge, SourceMoved, StoreUnavailable
from kappa.model.records import NewRecord, RecordBatch, Source
from kappa.ports.log import EVENT_LOG, RECORD_BYTES_MAX

SOURCE_STATE_BYTES_MAX = 4 * 1024

# A transaction is durable when its commit returns, and readers see it some milliseconds later; longer only if another
# one is open before it.
_VISIBLE_S = 0.5
_DELAY_S = 0.002
# To tell a log's size from: brokers say how many records there are, but this client cannot ask them for bytes.
_SAMPLE_RECORDS = 1_000


class KafkaLog:
    """A log in one topic, which exists. Not for use by two threads.

    Its connections are those of the `KafkaLogs` that opened it: opening and closing it again costs next to nothing.

    Attributes:
        topic: The topic's name.
    """

    def __init__(
        self,
        name: str,
        topic: str,
        *,
        partition_count: int,
        cluster: Cluster,
        sender: Sender,
        ahead_max_us: int | None = None,
    ) -> None:
        self._ahead_max_us = ahead_max_us
        self._name, self.topic, self._partition_count = name, topic, partition_count
        self._cluster, self._sender = cluster, sender
        self._reader = Reader(cluster, topic, log=name, partition_count=partition_count)
        self._states_reader = Reader(cluster, topic + SOURCES, log=name + SOURCES, partition_count=1)
        self._states = States(self._states_reader)
        # The last source's only, or group's: a process appends from one at a time, and each costs a producer, which
        # takes half a second to find its coordinator.
        self._owner: Owner | None = None
        # An append of which it is not known whether it was committed.
        self._undecided: Source | None = None
        self._read_count = self._read_bytes = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def partition_count(self) -> int:
        return self._partition_count

    @property
    def has_gaps(self) -> bool:
        return True  # each transaction ends with a mark in every partition that it wrote to

    @property
    def ahead_max_us(self) -> int | None:
        return self._ahead_max_us

    def append(self, records: Sequence[NewRecord], *, source: Source | None = None) -> None:
        for record in records:
            size = len(record.value) + (0 if record.key is None else len(record.key))
            if size > RECORD_BYTES_MAX:
                raise RecordTooLarge(log=self._name, size_bytes=size, size_bytes_max=RECORD_BYTES_MAX)
        if source is not None:
            self._append_from(source, records)
        elif records:
            self._sender.send(self.topic, records, partition_count=self._partition_count)

    def _append_from(self, source: Source, records: Sequence[NewRecord]) -> None:
        assert len(source.state.encode()) <= SOURCE_STATE_BYTES_MAX, source
        owner = self._own(source)
        if (state := owner.state(source.name)) != source.expected:
            if source == self._undecided and state == source.state:
                self._undecided = None
                return
            self._disown()
            raise SourceMoved(log=self._name, source=source.name)
        self._undecided = None
        if records and records[0].origin is not None:
            self._sender.send(self.topic, records, partition_count=self._partition_count)
            records = ()
        try:
            owner.commit(self.topic, records, source, partition_count=self._partition_count)
        except StoreUnavailable:
            self._undecided = source
            self._disown()
            raise
        except SourceMoved:
            self._disown()
            raise
        if records:
            # It is committed; that readers see it at once is a courtesy.
            with suppress(StoreUnavailable):
                self._await_visibility()

    def _own(self, source: Source) -> Owner:
        # All copies into a repartitioned log are made by one process, so it needs one right for all its sources.
        right = f"{self.topic} from {source.group or source.name}" if self._name == EVENT_LOG else self.topic
        if self._owner is None or self._owner.transactional_id != right:
            self._disown()
            states_topic = self.topic + SOURCES
            self._owner = Owner(self._cluster, right, log=self._name, states=self._states, states_topic=states_topic)
        return self._owner

    def _disown(self) -> None:
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def _await_visibility(self) -> None:
        """Wait until readers see what is in the log now, unless somebody else's transaction is in the way."""
        wanted, deadline = self._reader.ends_uncommitted(), time.monotonic() + _VISIBLE_S
        # Not equal: the mark that ends the transaction may have been written between the two questions.
        while any(end < wanted[partition] for partition, end in self._reader.ends().items()):
            if time.monotonic() >= deadline:
                break
            time.sleep(_DELAY_S)

    def source_state(self, name: str) -> str | None:
        return self._states.read().get(name)

    def source_states(self) -> Mapping[str, str]:
        return self._states.read()

    def read(self, partition: int, start: int, *, records_max: int) -> RecordBatch:
        assert 0 <= partition < self._partition_count, (partition, self._partition_count)
        assert start >= 0, start
        assert records_max >= 1, records_max
        messages, next_offset = self._reader.read(partition, start, records_max=records_max)
        batch = batch_of(partition, messages, next_offset, copies=self._name != EVENT_LOG)
        self._read_count += len(batch)
        self._read_bytes += sum(map(len, batch.values))
        return batch

    def starts(self) -> Mapping[int, int]:
        return self._reader.starts()

    def ends(self) -> Mapping[int, int]:
        return self._reader.ends()

    def offsets_from(self, event_time_us: int) -> Mapping[int, int]:
        # Brokers know when records were appended. Of event times, only how far ahead of that they may be is known.
        if self._ahead_max_us is None:
            return self.starts()
        return self._reader.offsets_from(event_time_us - self._ahead_max_us)

    def size_bytes(self) -> int:
        """Estimate the log's size from the records that this process has read: values, uncompressed, one copy."""
        starts, ends = self.starts(), self.ends()
        count = sum(ends.values()) - sum(starts.values())
        if count and not self._read_count:
            longest = max(ends, key=lambda partition: ends[partition] - starts[partition])
            self.read(longest, starts[longest], records_max=_SAMPLE_RECORDS)
        return count * self._read_bytes // max(1, self._read_count)

    def close(self) -> None:
        self._disown()

    def release(self) -> None:
        """Close its connections too. Idempotent."""
        self.close()
        self._reader.close()
        self._states_reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class KafkaLogs:
    """The logs of a project: the topics with one prefix."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        prefix: str,
        durability: Durability,
        options: Mapping[str, str] | None = None,
        ahead_max_us: int | None = None,
    ) -> None:
        """Prepare to connect; nothing is asked before the first use.

        Args:
            bootstrap_servers: Brokers to begin with, `host:port`, with commas.
            prefix: Begins the name of every topic.
            durability: How topics are created, and what less than that is warned of.
            options: Settings of the client library, such as `security.protocol`.
            ahead_max_us: See `Log.ahead_max_us`; None if it is not known.
        """
        self._cluster = Cluster(bootstrap_servers, options or {})
        self._topics = Topics(self._cluster, prefix, durability)
        self._sender = Sender(self._cluster)
        self._ahead_max_us = ahead_max_us
        self._opened: dict[str, KafkaLog] = {}

    def open(self, name: str, *, partition_count: int) -> KafkaLog:
        assert partition_count >= 1, partition_count
        self._topics.require(name, partition_count=partition_count)
        if name not in self._opened:
            self._topics.check(name)
            self._opened[name] = KafkaLog(
                name,
                self._topics.name(name),
                partition_count=partition_count,
                cluster=self._cluster,
                sender=self._sender,
                ahead_max_us=self._ahead_max_us,
            )
        return self._opened[name]

    def names(self) -> Sequence[str]:
        return self._topics.logs()

    def warnings(self) -> Sequence[str]:
        """Say what is wrong with the topics and can be lived with, a sentence each.

        Raises:
            ProjectError: A topic cannot be a log.
            StoreUnavailable: Retry.
        """
        return [warning for name in self.names() for warning in self._topics.check(name)]

    def close(self) -> None:
        """Close all connections. Idempotent."""
        for log in self._opened.values():
            log.release()
        self._opened.clear()
        self._sender.close()
