"""Where tests keep logs, rows and versions: which of the ways there are, and stores that are opened as a project opens
them, without a project.

What the environment says decides (the fixture `storage` sets it), so a test names no technology.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from hypothesis import Phase, settings

from kappa.adapters.kafka.log import KafkaLog
from kappa.adapters.sqlite.log import SqliteLog
from kappa.app import App
from kappa.config import load_settings
from kappa.model.partitioning import partition_of
from kappa.model.records import NewRecord, Source
from kappa.ports import Log

# Before the plus stands where the log is, behind it where the rest is. All but the first are slow.
SQLITE, POSTGRES, KAFKA, KAFKA_AND_POSTGRES = "sqlite+sqlite", "sqlite+postgres", "kafka+sqlite", "kafka+postgres"

SETTINGS = """
[project]
name = "stores"
modules = ["nothing"]
[log]
key = "user_id"
partitions = {partitions}
"""
# Of an append in transactions.
_RECORDS = 5


def on(*storages: str) -> pytest.MarkDecorator:
    """Run tests on other storages than by default, which is on files and, as a production has it, on no file at all."""
    return pytest.mark.parametrize("storage", storages, indirect=True)


def environment_of(folder: Path) -> Mapping[str, str]:
    """Return this process's environment, with a place of the folder's own in Kafka and PostgreSQL, if it names them."""
    topics = os.environ.get("KAPPA_KAFKA_TOPIC_PREFIX", "")
    name = hashlib.sha256(f"{topics}{folder}".encode()).hexdigest()[:16]
    own = {"KAPPA_POSTGRES_SCHEMA_PREFIX": f"folder_{name}", "KAPPA_KAFKA_TOPIC_PREFIX": f"{topics}{name}."}
    return {**os.environ, **own}


def open_stores(folder: Path, *, partitions: int) -> App:
    """Return a log, a view store and a control store that nobody has used: `events`, `views` and `control`."""
    folder.mkdir(exist_ok=True)
    (folder / "kappa.toml").write_text(SETTINGS.format(partitions=partitions))
    return App(load_settings(folder, environment_of(folder)))


def append_in_transactions(log: Log, records: Sequence[NewRecord]) -> None:
    """Append as ingestion does, some at a time: on Kafka each transaction leaves a mark, so that offsets have gaps."""
    for start in range(0, len(records), _RECORDS):
        state = log.source_state("test")
        log.append(records[start : start + _RECORDS], source=Source("test", state, str(int(state or 0) + 1)))


def forget(log: Log, key: bytes, *, before: int) -> None:
    """Delete the records of a key's partition before an offset, at which an append began, as retention does."""
    partition = partition_of(key, log.partition_count)
    if isinstance(log, KafkaLog):
        place = TopicPartition(log.topic, partition, before)
        log._cluster.admin.delete_records([place])[place].result(30)
    else:
        assert isinstance(log, SqliteLog)
        log._connection.execute(
            "DELETE FROM blocks WHERE id >> 40 = ? AND id < ?", (partition, partition << 40 | before)
        )


def examples(count: int, storage: str) -> settings:
    """Return the settings of a property with so many examples; with a few on Kafka, where each makes topics."""
    if storage == SQLITE:
        return settings(max_examples=count)
    return settings(max_examples=4, phases=[Phase.explicit, Phase.reuse, Phase.generate])
