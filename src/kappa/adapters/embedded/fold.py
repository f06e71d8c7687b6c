"""Fold one partition group of one version: read the log, call the kernel, commit. The loop of a worker process.

Rows, progress and dead letters of everything read so far are committed in one transaction, so a worker that is killed
anywhere resumes from its last commit and writes the same rows. Of events that were copied twice into a repartitioned
log it folds the first. It has no fold logic of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import cycle

import msgspec

from kappa.model.interleaving import interleave
from kappa.model.kernel import Kernel
from kappa.model.records import Changes, Progress
from kappa.ports import Log, ViewWriter
from kappa.ports.waiting import Waiter, patiently

# One block of the log. A batch costs about 2 ms, so a worker looks at its clock that often.
BATCH_RECORDS_MAX = 1_000
# An idle worker commits what it has at once, but a trickle of events shall not cost a disk flush each.
IDLE_COMMIT_INTERVAL_S = 0.1


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often a worker commits, and turns to another partition.

    Attributes:
        live_commit_s: Longest time between commits near the end of the log: how old a row may be.
        replay_commit_s: The same far from the end, where nobody waits for rows and each commit writes most of them.
        replay_lag_records: What counts as far.
        turn_s: How long a worker stays with one partition that has more to read. The rows of one partition fit into
            the processor's caches better than those of all: a tenth of a replay's time.
    """

    live_commit_s: float = 1.0
    replay_commit_s: float = 10.0
    replay_lag_records: int = 200_000
    turn_s: float = 0.5


class FoldWorker:
    """Folds a partition group from its committed progress on.

    Attributes:
        positions: partition -> next offset to fold; ahead of what is committed.
    """

    def __init__(
        self,
        log: Log,
        writer: ViewWriter,
        kernel: Kernel,
        *,
        pace: Pace,
        waiter: Waiter,
        batch_records_max: int = BATCH_RECORDS_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._writer, self._kernel = log, writer, kernel
        self._pace, self._waiter, self._clock = pace, waiter, clock
        self._batch_records_max = batch_records_max
        progress = writer.progress()
        self.positions = {partition: entry.next_offset for partition, entry in progress.items()}
        self._rotation = cycle(self.positions)
        self._watermarks = {partition: entry.watermark_us for partition, entry in progress.items()}
        self._origins = {partition: entry.origins for partition, entry in progress.items()}
        self._committed = dict(self.positions)
        self._committed_at = clock()
        self._commit_interval_s = self._choose_interval()

    def step(self) -> int:
        """Take a turn at the next partition that has records, and return how many were read: 0 at the end of all.

        Commits whenever it is time.

        Raises:
            Fenced: Another worker has taken over.
            HistoryLost: The log no longer holds what comes next.
            Stopped: While waiting for a store.
        """
        for _ in range(len(self.positions)):
            if count := self._take_turn(next(self._rotation)):
                return count
        self._commit_if_due(idle=True)
        return 0

    def finish(self) -> None:
        """Commit what was folded."""
        self.commit()

    def commit(self) -> None:
        """Write everything folded since the last commit. Waits as long as the store cannot be written."""
        if self.positions != self._committed:
            self._write(self._kernel.take_changes(), self._progress())
            self._committed = dict(self.positions)
            self._commit_interval_s = self._choose_interval()
        self._committed_at = self._clock()

    def _take_turn(self, partition: int) -> int:
        """Fold batches of one partition for a while, or to its end."""
        started_at, count = self._clock(), 0
        while read := self._fold_one(partition):
            count += read
            self._commit_if_due(idle=False)
            if self._clock() - started_at >= self._pace.turn_s:
                break
        return count

    def _commit_if_due(self, *, idle: bool) -> None:
        interval_s = min(IDLE_COMMIT_INTERVAL_S, self._commit_interval_s) if idle else self._commit_interval_s
        if self._kernel.full or self._clock() - self._committed_at >= interval_s:
            self.commit()

    def _fold_one(self, partition: int) -> int:
        batch = patiently(
            self._waiter, self._log.read, partition, self.positions[partition], records_max=self._batch_records_max
        )
        if len(batch):
            once, self._origins[partition] = interleave(batch, self._origins[partition])
            self._kernel.fold(once)
            self._watermarks[partition] = max(self._watermarks[partition], batch.event_time_max_us)
        self.positions[partition] = batch.next_offset
        return len(batch)

    def _progress(self) -> Mapping[int, Progress]:
        return {
            partition: Progress(next_offset, self._watermarks[partition], self._origins[partition])
            for partition, next_offset in self.positions.items()
        }

    def _write(self, changes: Changes, progress: Mapping[int, Progress]) -> None:
        patiently(self._waiter, self._writer.commit, changes, progress)

    def _choose_interval(self) -> float:
        ends = patiently(self._waiter, self._log.ends)
        lag = sum(ends[partition] - next_offset for partition, next_offset in self.positions.items())
        return self._pace.replay_commit_s if lag > self._pace.replay_lag_records else self._pace.live_commit_s
