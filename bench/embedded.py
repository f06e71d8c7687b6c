"""The embedded engine's own parts, put together as a worker process does it, with a clock beside them."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.profiles import EVENTS
from kappa.adapters.embedded.fold import FoldWorker, Pace
from kappa.adapters.sqlite.log import SqliteLog
from kappa.config import EngineSettings
from kappa.model.kernel import Kernel
from kappa.model.schema import ViewTable
from kappa.model.views import View, view_spec
from kappa.ports import Log, ViewStore


class Sleeper:
    """How a worker waits for a store. Nobody asks a benchmark to stop."""

    def wait(self, seconds: float, *, reason: str = "") -> None:  # noqa: ARG002 - as the worker calls it
        """Wait so long."""
        time.sleep(seconds)


class Fold:
    """One partition group of a view, ready to be folded from the log's start to its end into an empty store."""

    def __init__(
        self, log: Log | Path, view: type[View], store: ViewStore, *, pace: Pace, group: int = 0, groups: int = 1
    ) -> None:
        spec = view_spec(view)
        self._log = SqliteLog(log) if isinstance(log, Path) else log
        self._table = ViewTable(
            view=spec.name,
            version=1,
            key=spec.key_columns,
            columns=spec.columns,
            log=self._log.name,
            partition_count=self._log.partition_count,
            group_count=groups,
        )
        self._store = store
        self._store.create(self._table)
        self._writer = self._store.writer(self._table, group, epoch=1)
        kernel = Kernel(
            view,
            events=EVENTS,
            load=self._writer.get_many,
            rows_max=EngineSettings().cache_rows,
            store_empty=not self._writer.has_rows(),
        )
        self._worker = FoldWorker(self._log, self._writer, kernel, pace=pace, waiter=Sleeper())

    def run(self) -> None:
        """Fold and commit everything."""
        # As a worker process does.
        before = gc.get_threshold()
        gc.freeze()
        gc.set_threshold(200_000, 50, 100)
        while self._worker.step():
            pass
        self._worker.commit()
        gc.set_threshold(*before)
        gc.unfreeze()

    def rows(self) -> Mapping[str, dict[str, Any]]:
        """Return the committed rows as the yardstick has them."""
        names = [column.name for column in self._table.all_columns]
        rows = (dict(zip(names, row.columns, strict=True)) for row in self._store.scan(self._table))
        return {row.pop("user_id"): row | {"last_order_at": _text(row["last_order_at"])} for row in rows}

    def row_count(self) -> int:
        """Return how many rows are committed."""
        return self._store.row_count(self._table)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in (self._writer, self._store, self._log):
            part.close()


def _text(at: datetime | None) -> str | None:
    """Return a time as the generator writes it, which the yardstick leaves as it is."""
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1_000:03d}Z"
