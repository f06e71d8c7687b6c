"""The law of the engine: any batch split, any number of workers and any crash point give the same bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from embedded.shared import contents, fill_log, table
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.adapters.embedded.fold import FoldWorker, Pace
from kappa.adapters.sqlite.views import SqliteViews
from kappa.errors import Fenced
from kappa.model.kernel import Kernel
from kappa.model.records import lag
from kappa.ports import Log
from kappa.testing.accounts import EVENTS, Account, record

PARTITIONS = 4


class Impatient:
    """No store is away in these tests, so nobody should wait."""

    def wait(self, seconds: float, *, reason: str = "") -> None:
        raise AssertionError(f"waited {seconds} s: {reason}")


def worker(
    log: Log, store: SqliteViews, groups: int, group: int, epoch: int, *, batch: int, rows: int, commit_s: float
) -> FoldWorker:
    writer = store.writer(table(partition_count=PARTITIONS, group_count=groups), group, epoch=epoch)
    kernel = Kernel(Account, events=EVENTS, load=writer.get_many, rows_max=rows, store_empty=not writer.has_rows())
    # Turns of one batch each, so that crashes come between any two of them.
    pace = Pace(live_commit_s=commit_s, replay_commit_s=commit_s, turn_s=0.0)
    return FoldWorker(log, writer, kernel, pace=pace, waiter=Impatient(), batch_records_max=batch)


def run_undisturbed(log: Log, folder: Path) -> tuple[object, ...]:
    store = SqliteViews(folder)
    whole = table(partition_count=PARTITIONS, group_count=1)
    store.create(whole)
    only = worker(log, store, 1, 0, epoch=1, batch=1_000, rows=100_000, commit_s=3_600)
    while only.step():
        pass
    only.commit()
    return contents(store, whole)


events = st.tuples(st.integers(0, 8), st.sampled_from("abcdefgh"), st.integers(0, 50))
actions = st.sampled_from(["step", "step", "step", "commit", "crash"])


@settings(max_examples=60, deadline=None)
@given(
    written=st.lists(events, max_size=120),
    append_max=st.integers(1, 40),
    groups=st.integers(1, PARTITIONS),
    batch=st.integers(1, 30),
    rows=st.integers(2, 12),
    commit_s=st.sampled_from([0.0, 3_600.0]),
    course=st.lists(st.tuples(actions, st.integers(0, PARTITIONS - 1)), max_size=40),
)
def test_any_split_any_worker_count_and_any_crash_point_give_the_same_bytes(
    written: list[tuple[int, str, int]],
    append_max: int,
    groups: int,
    batch: int,
    rows: int,
    commit_s: float,
    course: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = fill_log(folder, [record(*event) for event in written], partition_count=PARTITIONS, append_max=append_max)
        expected = run_undisturbed(log, folder / "undisturbed")

        store = SqliteViews(folder / "disturbed")
        account = table(partition_count=PARTITIONS, group_count=groups)
        store.create(account)
        options = {"batch": batch, "rows": rows, "commit_s": commit_s}
        workers = [worker(log, store, groups, group, 1, **options) for group in range(groups)]
        for epoch, (action, chosen) in enumerate(course, start=2):
            group = chosen % groups
            match action:
                case "step":
                    workers[group].step()
                case "commit":
                    workers[group].commit()
                case "crash":  # what was not committed is gone with the process
                    workers[group] = worker(log, store, groups, group, epoch, **options)
        for survivor in workers:
            while survivor.step():
                pass
            survivor.commit()

        assert contents(store, account) == expected
        progress = {partition: entry.next_offset for partition, entry in store.progress(account).items()}
        assert lag(progress, log.ends()) == 0
        store.close()
        log.close()


def test_a_stale_worker_writes_nothing(tmp_path: Path) -> None:
    log = fill_log(tmp_path, [record(0, "a", n) for n in range(10)], partition_count=PARTITIONS, append_max=10)
    store = SqliteViews(tmp_path / "views")
    account = table(partition_count=PARTITIONS, group_count=1)
    store.create(account)
    options = {"batch": 100, "rows": 100, "commit_s": 3_600.0}
    stale = worker(log, store, 1, 0, 1, **options)
    stale.step()

    worker(log, store, 1, 0, 2, **options)

    with pytest.raises(Fenced):
        stale.commit()
    assert contents(store, account)[:2] == ([], [])


def test_a_worker_commits_when_memory_is_full_although_it_is_not_time(tmp_path: Path) -> None:
    accounts = [record(0, f"account {n}", n) for n in range(100)]
    log = fill_log(tmp_path, accounts, partition_count=PARTITIONS, append_max=100)
    store = SqliteViews(tmp_path / "views")
    account = table(partition_count=PARTITIONS, group_count=1)
    store.create(account)

    worker(log, store, 1, 0, 1, batch=10, rows=20, commit_s=3_600.0).step()

    assert store.row_count(account) > 0


class FreesSpace:
    """Somebody who deletes files when a worker says that it waits."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.make_room = lambda: None

    def wait(self, seconds: float, *, reason: str = "") -> None:
        self.reasons.append(reason)
        self.make_room()


def test_a_full_disk_makes_a_worker_wait_and_nothing_is_lost(tmp_path: Path) -> None:
    accounts = [record(0, f"account {n}", n) for n in range(2_000)]
    log = fill_log(tmp_path, accounts, partition_count=PARTITIONS, append_max=2_000)
    expected = run_undisturbed(log, tmp_path / "undisturbed")
    store = SqliteViews(tmp_path / "views")
    account = table(partition_count=PARTITIONS, group_count=1)
    store.create(account)
    writer = store.writer(account, 0, epoch=1)
    kernel = Kernel(Account, events=EVENTS, load=writer.get_many, rows_max=100_000, store_empty=True)
    waiter = FreesSpace()
    folding = FoldWorker(log, writer, kernel, pace=Pace(live_commit_s=3_600), waiter=waiter)
    writer._connection.execute("PRAGMA max_page_count = 20")
    waiter.make_room = lambda: writer._connection.execute("PRAGMA max_page_count = 1000000")

    while folding.step():
        pass
    folding.commit()

    assert len(waiter.reasons) == 1
    assert "account__v1.g0.db: database or disk is full" in waiter.reasons[0]
    assert contents(store, account) == expected
