"""Append records to a topic by one idempotent producer, acknowledged by all replicas in sync.

For records that no transaction encloses. A call that fails may have appended some of its records, of each partition a
first part without a gap; never a later record without those before it. So copies that carry their origin can be sent
again by anybody: a reader that passes over what is not newer sees each once, in order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer

from kappa.adapters.kafka.cluster import Cluster, cause_of
from kappa.adapters.kafka.headers import headers_of
from kappa.model.partitioning import partition_of
from kappa.model.records import NewRecord

# Nothing is acknowledged for so long: say so, and let the caller decide. A lost leader is replaced within ten seconds.
APPEND_TIMEOUT_S = 25.0
_POLL_RECORDS = 1_000
_FULL_WAIT_S = 0.05

PRODUCER = {
    "enable_idempotence": True,
    "acks": "all",
    "compression_type": "lz4",
    "linger_ms": 5,
    "batch_size": 512 * 1024,
    # Of the client's queue: whoever appends faster than brokers take it waits here.
    "queue_buffering_max_messages": 200_000,
    "queue_buffering_max_kbytes": 64 * 1024,
    "message_max_bytes": 1024 * 1024 + 64 * 1024,
    "delivery_report_only_error": True,
}


class Sender:
    """One long-lived producer for all logs of a process. Not for use by two threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._producer: Producer | None = None

    def send(self, topic: str, records: Sequence[NewRecord], *, partition_count: int) -> None:
        """Append records and return when all are acknowledged.

        Raises:
            StoreUnavailable: Not all were, in time. Some may have been appended.
        """
        deadline = time.monotonic() + APPEND_TIMEOUT_S
        with self._cluster.errors():
            if self._producer is None:
                # A record never times out by itself: one behind it might still be sent, and leave a gap.
                # One request at a time: of a producer that a broker does not know yet it takes any batch as the first,
                # and one that follows a refused one would leave a gap, too.
                own = {
                    **PRODUCER,
                    "message_timeout_ms": 0,
                    "enable_gapless_guarantee": True,
                    "max_in_flight_requests_per_connection": 1,
                }
                self._producer = Producer(self._cluster.settings(**own))
            producer = self._producer
        failures: list[KafkaError] = []
        try:
            enqueue(producer, topic, records, failures, partition_count=partition_count, deadline=deadline)
            if not failures and not producer.flush(max(0.0, deadline - time.monotonic())):
                return
        except KafkaException as error:
            failures.append(cause_of(error))
        self.close()
        raise self._cluster.unavailable(failures[0] if failures else KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001

    def close(self) -> None:
        """Give up what was not sent, and the producer: what is on its way may arrive, nothing after it. Idempotent."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None


def enqueue(
    producer: Producer,
    topic: str,
    records: Sequence[NewRecord],
    failures: list[KafkaError],
    *,
    partition_count: int,
    deadline: float,
) -> None:
    """Hand records to a producer, at its pace. Stops early if one fails, whose error then is in `failures`.

    Raises:
        KafkaException: The producer cannot be used any more, or its queue stayed full until the deadline.
    """

    def note(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failures.append(error)

    produce, poll = producer.produce, producer.poll
    for start in range(0, len(records), _POLL_RECORDS):
        for record in records[start : start + _POLL_RECORDS]:
            partition = partition_of(record.key, partition_count)
            while True:
                try:
                    produce(topic, record.value, record.key, partition, note, headers=headers_of(record))
                    break
                except BufferError:
                    poll(_FULL_WAIT_S)
                    if time.monotonic() >= deadline:
                        raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT)) from None  # noqa: SLF001
        poll(0)
        if failures:
            return
