"""Write the rows of a seed into the table of a version, whatever groups it has, fenced like any worker.

Rows are written in batches and progress last. Nothing is deleted before: rows of an attempt that was interrupted are at
most as new as those of the next one, so a newer row replaces them and an equal one is the same.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from kappa.control.advance import Advance
from kappa.model.records import Changes, DeadLetter, Progress, RowChange
from kappa.model.schema import ViewTable
from kappa.ports import DeadLetterEntry, StoredRow, ViewStore, ViewWriter

# A few megabytes of rows: the cost of a commit is spread, and a seed never holds more than that per group.
BATCH_ROWS_MAX = 2_000


class SeedWriter:
    """Writes one seed. Opening it fences whoever makes the same one with lower epochs."""

    def __init__(self, store: ViewStore, table: ViewTable, *, epochs: Mapping[int, int], rows_expected: int) -> None:
        self._table, self._rows_expected = table, rows_expected
        self._rows: dict[int, list[RowChange]] = {group: [] for group in epochs}
        self._dead_letters: dict[int, list[DeadLetter]] = {group: [] for group in epochs}
        self._row_count = self._reported = 0
        with ExitStack() as opened:
            self._writers: dict[int, ViewWriter] = {
                group: opened.enter_context(store.writer(table, group, epoch=epoch)) for group, epoch in epochs.items()
            }
            self._opened = opened.pop_all()

    def add(self, row: RowChange) -> None:
        """Write a row, sooner or later."""
        group = self._table.group_of(row.partition)
        self._rows[group].append(row)
        self._row_count += 1
        if len(self._rows[group]) >= BATCH_ROWS_MAX:
            self._write(group, {})

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Write a dead letter, sooner or later."""
        group = self._table.group_of(letter.partition)
        self._dead_letters[group].append(letter)
        if len(self._dead_letters[group]) >= BATCH_ROWS_MAX:
            self._write(group, {})

    def advance(self) -> Generator[Advance, None, None]:
        """Say how many rows were written, each time that it is worth saying."""
        if self._row_count - self._reported >= BATCH_ROWS_MAX:
            self._reported = self._row_count
            yield Advance(self._row_count, self._rows_expected, unit="rows")

    def finish(self, progress: Mapping[int, Progress]) -> None:
        """Write what is left, and then where the version goes on."""
        for group in self._writers:
            its_own = {
                partition: each for partition, each in progress.items() if self._table.group_of(partition) == group
            }
            self._write(group, its_own)

    def _write(self, group: int, progress: Mapping[int, Progress]) -> None:
        changes = Changes(self._rows[group], self._dead_letters[group])
        self._writers[group].commit(changes, progress)
        self._rows[group], self._dead_letters[group] = [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def unchanged(key: bytes, row: StoredRow) -> RowChange:
    """Return a stored row to be written as it is."""
    return RowChange(key, row.columns, row.state, row.partition, row.offset, row.step, row.due_us)


def dead_letter(entry: DeadLetterEntry) -> DeadLetter:
    """Return a stored dead letter to be written as it is."""
    return DeadLetter(entry.partition, entry.offset, entry.key, entry.value, entry.reason, entry.event_time_us)
