"""The states of a log's sources: a compacted topic, read incrementally, written in transactions.

Who appends from a source owns it: its transactional id fences every older process at the brokers, so the state that is
read after that cannot change under the owner's hands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Producer

from kappa.adapters.kafka.cluster import Cluster, cause_of
from kappa.adapters.kafka.reading import Reader
from kappa.adapters.kafka.sending import APPEND_TIMEOUT_S, PRODUCER, enqueue
from kappa.errors import KappaError, SourceMoved, StoreUnavailable
from kappa.model.records import NewRecord, Source

# The brokers abort a transaction after so long whose process is gone; until then nobody reads past it.
TRANSACTION_TIMEOUT_S = 30.0
_READ_RECORDS = 10_000
# A transaction that is being committed is settled within milliseconds; one that was abandoned is not worth a wait.
_SETTLING_S = 0.5
_DELAY_S = 0.005
_ABORT_TIMEOUT_S = 5.0
_DRAIN_TIMEOUT_S = 5.0
_SLICE_S = 1.0


class States:
    """The latest committed state of each source of a log."""

    def __init__(self, reader: Reader) -> None:
        """Prepare to read the topic of states, by a reader of its own."""
        self._reader = reader
        self._position = 0
        self._states: dict[str, str] = {}

    def read(self, *, patience_s: float = _SETTLING_S, settled: bool = False) -> Mapping[str, str]:
        """Return the states, sorted by name.

        Args:
            patience_s: How long to wait for transactions that are open, of any source.
            settled: Whether to fail if one still is: what it hides may be a state that was committed behind it.

        Raises:
            StoreUnavailable: Retry.
        """
        wanted = self._reader.ends_uncommitted()[0]
        deadline = time.monotonic() + patience_s
        while True:
            while self._read_on():
                pass
            if self._position >= wanted:
                break
            if time.monotonic() >= deadline:
                if settled:
                    raise StoreUnavailable(
                        store="Kafka", cause=f"a transaction of another source has been open for {patience_s:.0f} s"
                    )
                break
            time.sleep(_DELAY_S)
        return dict(sorted(self._states.items()))

    def _read_on(self) -> bool:
        records, next_offset = self._reader.read(0, self._position, records_max=_READ_RECORDS)
        for record in records:
            self._states[(record.key() or b"").decode()] = (record.value() or b"").decode()
        moved = next_offset > self._position
        self._position = next_offset
        return moved


class Owner:
    """The right to append from a source, until somebody else takes it. Not for use by two threads."""

    def __init__(self, cluster: Cluster, transactional_id: str, *, log: str, states: States, states_topic: str) -> None:
        """Take the right from whoever has it, and read the states as they then are.

        Args:
            cluster: Where.
            transactional_id: Names the right.
            log: What errors call the log.
            states: Reads its sources' states.
            states_topic: Where they are.

        Raises:
            StoreUnavailable: Retry.
        """
        self.transactional_id = transactional_id
        self._cluster, self._log, self._states_topic = cluster, log, states_topic
        milliseconds = {
            "transaction_timeout_ms": round(TRANSACTION_TIMEOUT_S * 1000),
            "message_timeout_ms": round(APPEND_TIMEOUT_S * 1000),
        }
        with cluster.errors():
            own = {
                **PRODUCER,
                **milliseconds,
                "transactional_id": transactional_id,
                "delivery_report_only_error": False,
            }
            self._producer = Producer(cluster.settings(**own))
            _in_slices(self._producer.init_transactions, time.monotonic() + APPEND_TIMEOUT_S)
        self._states = dict(states.read(patience_s=TRANSACTION_TIMEOUT_S + 5, settled=True))

    def state(self, source: str) -> str | None:
        """Return a source's state: nobody else can have changed it."""
        return self._states.get(source)

    def commit(self, topic: str, records: Sequence[NewRecord], source: Source, *, partition_count: int) -> None:
        """Append records and their source's new state in one transaction. Not to be used again after an error.

        Raises:
            SourceMoved: Somebody else has taken the source. Nothing was appended.
            StoreUnavailable: The next owner finds whether it was committed.
        """
        deadline = time.monotonic() + APPEND_TIMEOUT_S
        failures: list[KafkaError] = []
        try:
            self._producer.begin_transaction()
            enqueue(self._producer, topic, records, failures, partition_count=partition_count, deadline=deadline)
            self._producer.produce(self._states_topic, source.state.encode(), source.name.encode(), 0)
            _in_slices(self._producer.commit_transaction, deadline)
        except KafkaException as error:
            raise self._failed(cause_of(error), failures, source) from error
        self._states[source.name] = source.state

    def close(self) -> None:
        """Give up what was not sent. Idempotent."""
        self._producer.purge()

    def _failed(self, error: KafkaError, failures: Sequence[KafkaError], source: Source) -> KappaError:
        # The error of a record says more than that of the transaction around it.
        errors = [*failures, error]
        if error.txn_requires_abort():
            # If this fails too, the next owner aborts it, or the brokers do when its time is over.
            try:
                self._producer.abort_transaction(_ABORT_TIMEOUT_S)
            except KafkaException as failed:
                errors.append(cause_of(failed))
        if any(each.code() in _FENCED for each in errors):
            self._drain()
            return SourceMoved(log=self._log, source=source.name)
        return self._cluster.unavailable(next((each for each in errors if each.code() not in _GIVEN_UP), error))

    def _drain(self) -> None:
        """Wait for the answers to what is on its way: they tell of the fence as well.

        One that arrives while the producer is destroyed corrupts memory: librdkafka 2.16 frees `txn_errstr` in
        `rd_kafka_txns_term` and again in `rd_kafka_txn_set_fatal_error`.
        """
        self._producer.purge(in_flight=False)
        deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        while len(self._producer) and time.monotonic() < deadline:
            with suppress(KafkaException):  # the fence, told once more
                self._producer.flush(_SLICE_S)


def _in_slices(ask: Callable[[float], None], deadline: float) -> None:
    """Ask for something that goes on where it was when it is asked for again; in between, Ctrl-C is heard."""
    while True:
        try:
            ask(_SLICE_S)
        except KafkaException as error:
            if not cause_of(error).retriable() or time.monotonic() >= deadline:
                raise
        else:
            return


_FENCED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - that is its name
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    }
)
# What records are told that went unsent because of something else.
_GIVEN_UP = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001
