"""Bring the rows of one key in two versions to one position, so that they can be compared while both consume.

A row is true from behind its own last event up to where its version has folded: it has a span. Rows whose spans meet
compare as they are. Otherwise the row that is behind is folded forward, by its version's own code and the real kernel,
to where the other one is. Nothing is written, and what is given up is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kappa.control.code import LoadCode
from kappa.control.key_events import Span, events_of_keys
from kappa.errors import KappaError
from kappa.model.kernel import Kernel
from kappa.model.partitioning import partition_of
from kappa.model.records import Progress
from kappa.ports import Log, StoredRow, Version, ViewStore


class Pair(msgspec.Struct, frozen=True, gc=False):
    """The rows of one key in both versions, as they were read, or as they were folded forward."""

    key: bytes
    left: StoredRow | None
    right: StoredRow | None

    @property
    def end(self) -> int:
        """The first position at which both rows can be true: behind the last event that either holds."""
        return max(_last(self.left), _last(self.right)) + 1


def meet(pair: Pair, left: Progress, right: Progress) -> bool:
    """Say whether both rows are true at `pair.end`, given progress that was read before them."""
    return pair.end <= min(_known(pair.left, left), _known(pair.right, right))


def _last(row: StoredRow | None) -> int:
    return -1 if row is None else row.offset


def _known(row: StoredRow | None, progress: Progress) -> int:
    """Return up to which position a row, or that there is none, is known to be true.

    A version that goes on writes newer rows than its progress, as it was read before, says.
    """
    return max(_last(row) + 1, progress.next_offset)


class Settling:
    """Settles what could not be compared as it was read.

    Attributes:
        records_left: How many records of the log may still be read.
        notes: Why keys were given up, a sentence each, without repetition.
    """

    def __init__(
        self, left: Version, right: Version, *, store: ViewStore, log: Log, load_code: LoadCode, records_max: int
    ) -> None:
        self._versions = left, right
        self._store, self._log, self._load_code = store, log, load_code
        self.records_left = records_max
        self.notes: dict[str, None] = {}

    def settle(self, keys: Sequence[bytes]) -> list[Pair]:
        """Return the pairs of those keys that can be brought to one position; the others are given up."""
        left, right = self._versions
        progress = [self._store.progress(version.table) for version in self._versions]
        rows = [self._store.get_many(version.table, keys) for version in self._versions]
        settled: list[Pair] = []
        behind: tuple[list[Pair], list[Pair]] = ([], [])
        for key in keys:
            partition = partition_of(key, left.table.partition_count)
            pair = Pair(key, rows[0].get(key), rows[1].get(key))
            if pair.left is None and pair.right is None:
                continue
            if meet(pair, progress[0][partition], progress[1][partition]):
                settled.append(pair)
            else:
                behind[_known(pair.left, progress[0][partition]) >= pair.end].append(pair)
        settled += [
            Pair(pair.key, row, pair.right) for pair, row in self._forward(left, behind[0], progress[0], rows[0])
        ]
        settled += [
            Pair(pair.key, pair.left, row) for pair, row in self._forward(right, behind[1], progress[1], rows[1])
        ]
        return settled

    def _forward(
        self,
        version: Version,
        pairs: Sequence[Pair],
        progress: Mapping[int, Progress],
        rows: Mapping[bytes, StoredRow],
    ) -> list[tuple[Pair, StoredRow | None]]:
        """Return each pair with the row that a version will have at the pair's end, as far as that can be found."""
        by_partition: dict[int, list[Pair]] = {}
        for pair in pairs:
            by_partition.setdefault(partition_of(pair.key, version.table.partition_count), []).append(pair)
        found: list[tuple[Pair, StoredRow | None]] = []
        for partition, waiting in by_partition.items():
            since = progress[partition]
            spans = {pair.key: (_known(rows.get(pair.key), since), pair.end) for pair in waiting}
            spans = self._affordable(spans, since.next_offset)
            try:
                folded = self._fold(version, partition, spans, rows, since) if spans else {}
            except KappaError as error:
                if error.retryable:
                    raise
                self.notes[error.message] = None  # the history has left the log, or the code is damaged
                continue
            found += [(pair, folded.get(pair.key, rows.get(pair.key))) for pair in waiting if pair.key in spans]
        return found

    def _affordable(self, spans: Mapping[bytes, Span], start: int) -> dict[bytes, Span]:
        """Return the spans that may still be read, from `start` on, and take them off what is left."""
        affordable = {key: span for key, span in spans.items() if span[1] - start <= self.records_left}
        if len(affordable) < len(spans):
            self.notes["one version is too far ahead of the other: some keys wait until they are closer"] = None
        self.records_left -= max((end for _, end in affordable.values()), default=start) - start
        return affordable

    def _fold(
        self,
        version: Version,
        partition: int,
        spans: Mapping[bytes, Span],
        rows: Mapping[bytes, StoredRow],
        since: Progress,
    ) -> dict[bytes, StoredRow]:
        """Return the rows that the events in these spans change, by key; `since` is the version's progress."""
        code = self._load_code(version)
        kernel = Kernel(
            code.view,
            events=code.events,
            load=lambda keys: {key: rows[key].state for key in keys if key in rows},
            rows_max=2 * len(spans) + 2,
        )
        for batch in events_of_keys(self._log, partition, spans, since=since):
            kernel.fold(batch)
        return {
            row.key: StoredRow(row.columns, row.state, row.partition, row.offset, row.step, row.due_us)
            for row in kernel.take_changes().rows
            if row.columns is not None and row.state is not None
        }
