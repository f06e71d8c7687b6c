"""The Kafka cluster: the settings of its clients, questions about offsets, and the one translation of its errors.

It knows no log. Whatever a broker cannot do now becomes `StoreUnavailable`, with what the client last heard of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

from kappa.errors import StoreUnavailable

T = TypeVar("T")

EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client's, which has no types
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

# One request. A broker that is gone is noticed, and another one leads its partitions, within about ten seconds.
REQUEST_TIMEOUT_S = 5.0
# All attempts together. Whoever can wait for longer tries again: what is asked for here changes nothing.
ANSWER_TIMEOUT_S = 20.0
_RETRY_DELAY_S = 0.1

_NO_ANSWER = "brokers that hold the replicas of a partition may be down, or too few in sync"
_MEANINGS = {
    KafkaError._MSG_TIMED_OUT: _NO_ANSWER,  # noqa: SLF001 - that is its name
    KafkaError._TIMED_OUT: _NO_ANSWER,  # noqa: SLF001
    KafkaError.NOT_ENOUGH_REPLICAS: "too few replicas of a partition are in sync",
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: "too few replicas of a partition are in sync",
}


class Cluster:
    """What every client of one process is made from."""

    def __init__(self, bootstrap_servers: str, options: Mapping[str, str]) -> None:
        """Prepare to connect.

        Args:
            bootstrap_servers: As Kafka has it: `host:port`, with commas.
            options: Of the client library, such as `security.protocol`; secrets are in here, so this is never shown.
        """
        self.bootstrap_servers = bootstrap_servers
        self._options = options
        self._heard = ""

    def settings(self, **own: Any) -> dict[str, Any]:
        """Return the settings of a client; `own` are those of its kind, with `_` for the dots in their names."""
        return {
            # The client prints what goes wrong; what matters of that is in the errors that are raised.
            "log_level": 0,
            "error_cb": self._hear,
            "socket.connection.setup.timeout.ms": 5_000,
            # A broker that hangs keeps its connections; after ten seconds another one leads its partitions.
            "socket.timeout.ms": 10_000,
            # Brokers come back: the default waits for up to ten seconds before it looks again.
            "reconnect.backoff.max.ms": 1_000,
            "topic.metadata.refresh.interval.ms": 10_000,
            # By default it is not only consumers that ask about a topic which have the broker make it, as it pleases.
            "allow.auto.create.topics": False,
            **self._options,
            "bootstrap.servers": self.bootstrap_servers,
            **{name.replace("_", "."): value for name, value in own.items()},
        }

    @cached_property
    def admin(self) -> AdminClient:
        """Asks about topics and offsets, and creates topics."""
        with self.errors():
            return AdminClient(self.settings())

    def offsets(
        self,
        topic: str,
        partitions: Sequence[int],
        spec: OffsetSpec,
        *,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[int, int]:
        """Return an offset of each partition: its first one, its end, or the first one of a time (-1 if there is none).

        Raises:
            StoreUnavailable: No answer in `ANSWER_TIMEOUT_S`.
        """
        wanted = {TopicPartition(topic, partition): spec for partition in partitions}

        def ask() -> dict[int, int]:
            answers: Mapping[TopicPartition, Future[ListOffsetsResultInfo]] = self.admin.list_offsets(
                wanted, isolation_level=isolation, request_timeout=REQUEST_TIMEOUT_S
            )
            return {asked.partition: answer.result().offset for asked, answer in answers.items()}

        # Just after a topic was made, or while its leader changes, nobody can tell.
        return self.patiently(ask)

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask again until there is an answer: for questions, and for what does no harm if it is done twice.

        Raises:
            StoreUnavailable: There was none in `ANSWER_TIMEOUT_S`.
        """
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                return ask()
            except KafkaException as error:
                self.admin.poll(0)  # here it tells what it heard, such as that the password is wrong
                if time.monotonic() >= deadline or is_final(cause_of(error)):
                    raise self.unavailable(cause_of(error)) from error
            time.sleep(_RETRY_DELAY_S)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate what the client raises while the block runs."""
        try:
            yield
        except KafkaException as error:
            raise self.unavailable(cause_of(error)) from error

    def unavailable(self, error: KafkaError | None, *, doing: str = "") -> StoreUnavailable:
        """Return the error that says what a client could not do, and what it last heard of its brokers."""
        said = "" if error is None else f"{error.str() or error.name()}"
        meaning = "" if error is None else _MEANINGS.get(error.code(), "")
        parts = [part for part in (doing, said, meaning, self._heard) if part]
        unavailable = StoreUnavailable(
            store=f"Kafka at {self.bootstrap_servers}",
            cause="; ".join(dict.fromkeys(parts)),
            next_step="see that its brokers run and can be reached, then run the command again",
        )
        if error is not None and is_final(error):
            unavailable.retryable = False
        return unavailable

    def _hear(self, error: KafkaError) -> None:
        # That all brokers are down is told behind the reason, such as a wrong password, and says less.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._heard:  # noqa: SLF001 - that is its name
            self._heard = error.str()


def cause_of(error: KafkaException) -> KafkaError:
    """Return the code and the words inside what the client raises."""
    cause: KafkaError = error.args[0]
    return cause


def is_final(error: KafkaError) -> bool:
    """Say whether waiting is no help: wrong settings, or no permission."""
    return error.code() in _FINAL


_FINAL = frozenset(
    {
        KafkaError._INVALID_ARG,  # noqa: SLF001
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._SSL,  # noqa: SLF001
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_CONFIG,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
    }
)
