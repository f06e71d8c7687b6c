"""The same view in Bytewax: written as its documentation shows it, the same with its rows in a database, and tuned.

But for the second one, rows stay in Bytewax's memory, and its sink throws away what it gets. With a recovery folder it
keeps snapshots of changed rows there, one transaction an epoch, from which it would resume.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import bytewax.operators as op
import orjson
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from bench.yardstick import Row, fold, fold_one, new_row

# Tried 100 to 20,000: from 500 to 2,000 is as fast as it gets.
BATCH = 500
EPOCH_S = 10.0  # Bytewax's default


class Flow(Protocol):
    """Folds all values; see `tuned`."""

    def __call__(self, values: Sequence[bytes], *, recovery: Path | None = None, epoch_s: float = EPOCH_S) -> None: ...


class _Partition(StatefulSourcePartition[bytes, int]):
    def __init__(self, values: Sequence[bytes], start: int) -> None:
        self.values, self.next = values, start

    def next_batch(self) -> Sequence[bytes]:
        if self.next >= len(self.values):
            raise StopIteration
        batch = self.values[self.next : self.next + BATCH]
        self.next += len(batch)
        return batch

    def snapshot(self) -> int:
        return self.next


class _Source(FixedPartitionedSource[bytes, int]):
    def __init__(self, values: Sequence[bytes]) -> None:
        self.values = values

    def list_parts(self) -> list[str]:
        return ["all"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Partition:  # noqa: ARG002 - theirs
        return _Partition(self.values, resume_state or 0)


class _Profile(op.StatefulBatchLogic[dict[str, Any], None, Row]):
    def __init__(self, resumed: Row | None, into: dict[str, Row] | None) -> None:
        self.row = resumed or new_row()
        self.into = into

    def on_batch(self, values: list[dict[str, Any]]) -> tuple[Sequence[None], bool]:
        row = self.row
        for event in values:
            fold_one(row, event)
        if self.into is not None:
            self.into[values[0]["user_id"]] = row
        return (), False

    def snapshot(self) -> Row:
        return dict(self.row)


class _Nowhere(DynamicSink[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _NowherePartition:  # noqa: ARG002 - theirs
        return _NowherePartition()


class _NowherePartition(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        pass


def _user_id(event: dict[str, Any]) -> str:
    return event["user_id"]


def _fold_one(row: Row | None, event: dict[str, Any]) -> tuple[Row, Row]:
    row = row or new_row()
    fold_one(row, event)
    return row, row


def _keyed(values: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    return [(event["user_id"], event) for event in map(orjson.loads, values)]


def tuned(values: Sequence[bytes], *, recovery: Path | None = None, epoch_s: float = EPOCH_S) -> None:
    """Fold all values in this thread, in batches wherever Bytewax has a way to.

    Args:
        values: The events.
        recovery: A folder that does not exist yet, for snapshots; None to keep none.
        epoch_s: The length of an epoch.
    """
    _run(_tuned_flow(values, into=None), recovery, epoch_s)


def documented(values: Sequence[bytes], *, recovery: Path | None = None, epoch_s: float = EPOCH_S) -> None:
    """Fold all values in this thread as Bytewax's documentation does it: `map`, `key_on`, `stateful_map`."""
    flow = Dataflow("profiles")
    events = op.map("decode", op.input("values", flow, _Source(values)), orjson.loads)
    keyed = op.key_on("key", events, _user_id)
    op.output("rows", op.stateful_map("fold", keyed, _fold_one), _Nowhere())
    _run(flow, recovery, epoch_s)


def stored(values: Sequence[bytes], file: Path) -> None:
    """Fold all values as `documented` does, and keep the rows where readers find them: in SQLite, as ours are.

    Args:
        values: The events.
        file: A database that does not exist yet. Everything is one transaction, as when we replay.
    """
    flow = Dataflow("profiles")
    events = op.map("decode", op.input("values", flow, _Source(values)), orjson.loads)
    keyed = op.key_on("key", events, _user_id)
    op.output("rows", op.stateful_map("fold", keyed, _fold_one), _Table(file))
    _run(flow, None, EPOCH_S)


class _Table(DynamicSink[tuple[str, Row]]):
    def __init__(self, file: Path) -> None:
        self.file = file

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _TablePartition:  # noqa: ARG002 - theirs
        return _TablePartition(self.file)


class _TablePartition(StatelessSinkPartition[tuple[str, Row]]):
    """Upserts the rows of each batch, each row once."""

    def __init__(self, file: Path) -> None:
        self.connection = sqlite3.connect(file, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        columns = list(new_row())
        self.connection.execute(f"CREATE TABLE rows (user_id TEXT PRIMARY KEY, {', '.join(columns)})")
        self.upsert = (
            f"INSERT INTO rows VALUES (?{', ?' * len(columns)}) ON CONFLICT (user_id) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in columns)
        )
        self.connection.execute("BEGIN")

    def write_batch(self, items: list[tuple[str, Row]]) -> None:
        rows = [
            (key, *(str(value) if isinstance(value, Decimal) else value for value in row.values()))
            for key, row in dict(items).items()
        ]
        self.connection.executemany(self.upsert, rows)

    def close(self) -> None:
        self.connection.execute("COMMIT")
        self.connection.close()


def check(values: Sequence[bytes]) -> None:
    """Assert that the rows are the yardstick's."""
    rows: dict[str, Row] = {}
    run_main(_tuned_flow(values, into=rows))
    assert rows == fold(values)


def _tuned_flow(values: Sequence[bytes], *, into: dict[str, Row] | None) -> Dataflow:
    flow = Dataflow("profiles")
    keyed = op.flat_map_batch("decode", op.input("values", flow, _Source(values)), _keyed)
    op.output("rows", op.stateful_batch("fold", keyed, lambda resumed: _Profile(resumed, into)), _Nowhere())
    return flow


def _run(flow: Dataflow, recovery: Path | None, epoch_s: float) -> None:
    config = None
    if recovery is not None:
        recovery.mkdir(parents=True)
        init_db_dir(recovery, 1)
        config = RecoveryConfig(recovery)
    run_main(flow, epoch_interval=timedelta(seconds=epoch_s), recovery_config=config)
