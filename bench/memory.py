"""Memory: the most that a worker takes while it folds more rows than it may keep in memory."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from bench.embedded import Fold
from bench.measure import Figure, at_most
from bench.profiles import ByHandlers
from bench.project import ingest, new_project
from bench.settings import Settings
from kappa.adapters.embedded.fold import Pace
from kappa.adapters.sqlite.views import SqliteViews


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    keys = settings.memory_keys
    # Each customer registers, and there is some coming back of rows that have left memory.
    events = keys * 6 // 5
    log_file = ingest(new_project(settings.folder / "memory"), events=events, keys=keys)
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(log_file, settings.folder / "memory-rows", there))
    process.start()
    there.close()
    peak_mib, rows = here.recv()
    process.join()
    assert rows == keys, (rows, keys)
    return [Figure(f"kappa, one worker, {keys:,} keys", "MiB", (peak_mib,), bound=at_most(1_024))]


def _work(log_file: Path, folder: Path, result: Connection) -> None:
    with Fold(log_file, ByHandlers, SqliteViews(folder), pace=Pace()) as fold:
        fold.run()
        result.send((_peak_mib(), fold.row_count()))


def _peak_mib() -> float:
    """Return the most that this process has had in memory. Linux only; `ru_maxrss` begins with what its parent had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (peak_kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak_kib) / 1_024
