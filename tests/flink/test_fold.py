"""The law of a job's fold: however the log is cut into bundles, whenever it is flushed, and wherever it crashes, with
or without a checkpoint to go back to, the rows and dead letters are those of one undisturbed kernel.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
from embedded.shared import contents, fill_log, table
from embedded.test_fold_worker import run_undisturbed
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.adapters.flink.fold import Stored, SubtaskFold
from kappa.adapters.flink.messages import FLUSH, Bundle, Commit
from kappa.adapters.sqlite.views import SqliteViews
from kappa.model.kernel import Kernel, Load
from kappa.model.records import Changes, Progress
from kappa.ports import Log, ViewWriter
from kappa.testing.accounts import EVENTS, Account, record

PARTITIONS = 4
TABLE = table(partition_count=PARTITIONS, group_count=1)

_decode_commit = msgspec.msgpack.Decoder(Commit).decode


class Keyed:
    """Flink's keyed state: that of one partition is at hand, and all of it goes into a checkpoint."""

    def __init__(self) -> None:
        self.partition = -1
        self.rows: dict[int, dict[bytes, bytes]] = {partition: {} for partition in range(PARTITIONS)}
        self.progresses: dict[int, bytes] = {}

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        rows = self.rows[self.partition]
        return {key: rows[key] for key in keys if key in rows}

    def put_many(self, states: Mapping[bytes, bytes | None]) -> None:
        for key, state in states.items():
            if state is None:
                self.rows[self.partition].pop(key, None)
            else:
                self.rows[self.partition][key] = state

    def progress(self) -> bytes | None:
        return self.progresses.get(self.partition)

    def put_progress(self, progress: bytes) -> None:
        self.progresses[self.partition] = progress


class Job:
    """A job without Flink: it reads bundles, flushes what it touched, takes checkpoints, and dies."""

    def __init__(
        self, log: Log, store: SqliteViews, writer: ViewWriter, *, rows_max: int, seeded: bool = False
    ) -> None:
        self._log, self._store, self._writer, self._rows_max = log, store, writer, rows_max
        self._seeded = seeded
        self.submit()

    def submit(self) -> None:
        """Begin where the view store is, with nothing else."""
        self._start = {partition: its.next_offset for partition, its in self._store.progress(TABLE).items()}
        self._checkpoint = Keyed(), dict(self._start)
        self.crash()

    def crash(self) -> None:
        """Begin at the last checkpoint of this job, or where it was submitted."""
        self._states, self._positions = copy.deepcopy(self._checkpoint)
        self._touched: set[int] = set()
        progress = self._store.progress(TABLE)
        stored = Stored(
            progress=progress,
            lazy=self._seeded or any(its != Progress() for its in progress.values()),
            load=lambda keys: {key: row.state for key, row in self._store.get_many(TABLE, keys).items()},
            rows=pickle.dumps,
            dead_letters=pickle.dumps,
            origins=lambda its: msgspec.json.encode(its.origins).decode(),
        )
        self._fold = SubtaskFold(self._kernel, states=self._states, stored=stored)

    def _kernel(self, load: Load) -> Kernel:
        return Kernel(Account, events=EVENTS, load=load, rows_max=self._rows_max)

    def read(self, partition: int, records_max: int) -> int:
        batch = self._log.read(partition, self._positions[partition], records_max=records_max)
        if not len(batch):
            return 0
        columns = batch.offsets, batch.keys, batch.values, batch.event_times_us, batch.appended_at_us
        bundle = Bundle(partition, batch.next_offset, batch.event_time_max_us, *map(list, columns), [])
        self._states.partition = partition
        assert self._fold.take(msgspec.msgpack.encode(bundle)) is None
        self._positions[partition] = batch.next_offset
        self._touched.add(partition)
        return len(batch)

    def flush(self) -> None:
        for partition in sorted(self._touched):
            self._states.partition = partition
            answer = self._fold.take(msgspec.msgpack.encode(Bundle(partition, FLUSH, 0, [], [], [], [], [], [])))
            assert answer is not None
            self._write(_decode_commit(answer))
        self._touched.clear()

    def _write(self, commit: Commit) -> None:
        """Do what the sink does: progress never goes back."""
        rows = pickle.loads(commit.rows) if commit.rows else ()  # noqa: S301 - our own
        letters = pickle.loads(commit.dead_letters) if commit.dead_letters else ()  # noqa: S301
        progress = {}
        if commit.next_offset > self._store.progress(TABLE)[commit.partition].next_offset:
            progress = {commit.partition: Progress(commit.next_offset, commit.watermark_us)}
        self._writer.commit(Changes(rows, letters), progress)

    def checkpoint(self) -> None:
        self.flush()
        self._checkpoint = copy.deepcopy((self._states, self._positions))


events = st.tuples(st.integers(0, 8), st.sampled_from("abcdefgh"), st.integers(0, 50))
actions = st.sampled_from(["read", "read", "read", "flush", "checkpoint", "crash", "submit"])


@settings(max_examples=80, deadline=None)
@given(
    written=st.lists(events, max_size=100),
    bundle=st.integers(1, 30),
    rows_max=st.integers(2, 12),
    course=st.lists(st.tuples(actions, st.integers(0, PARTITIONS - 1)), max_size=40),
)
def test_any_bundles_any_flushes_and_any_crash_give_the_same_bytes(
    written: list[tuple[int, str, int]], bundle: int, rows_max: int, course: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = fill_log(folder, [record(*event) for event in written], partition_count=PARTITIONS, append_max=20)
        expected = run_undisturbed(log, folder / "undisturbed")
        store = SqliteViews(folder / "disturbed")
        store.create(TABLE)
        with store.writer(TABLE, 0, epoch=1) as writer:
            job = Job(log, store, writer, rows_max=rows_max)
            for action, partition in course:
                match action:
                    case "read":
                        job.read(partition, bundle)
                    case "flush":
                        job.flush()
                    case "checkpoint":
                        job.checkpoint()
                    case "crash":
                        job.crash()
                    case "submit":
                        job.submit()
            finish(job, bundle)

            assert contents(store, TABLE) == expected
        store.close()
        log.close()


@settings(max_examples=40, deadline=None)
@given(
    written=st.lists(events, min_size=1, max_size=100),
    bundle=st.integers(1, 30),
    rows_max=st.integers(2, 12),
    back=st.lists(st.integers(0, 100), min_size=PARTITIONS, max_size=PARTITIONS),
    course=st.lists(st.tuples(st.sampled_from(["read", "flush"]), st.integers(0, PARTITIONS - 1)), max_size=20),
)
def test_a_job_that_begins_at_a_position_before_its_rows_gives_the_same_bytes(
    written: list[tuple[int, str, int]], bundle: int, rows_max: int, back: list[int], course: list[tuple[str, int]]
) -> None:
    """A fuzzy seed: its rows and dead letters are those of a later position, in each partition of another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = fill_log(folder, [record(*event) for event in written], partition_count=PARTITIONS, append_max=20)
        expected = run_undisturbed(log, folder / "undisturbed")
        store = SqliteViews(folder / "disturbed")
        store.create(TABLE)
        with store.writer(TABLE, 0, epoch=1) as writer:
            seeding = Job(log, store, writer, rows_max=rows_max)
            follow(seeding, course, bundle)
            writer.commit(Changes(), {partition: behind(its, back[partition]) for partition, its in folded(store)})

            finish(Job(log, store, writer, rows_max=rows_max, seeded=True), bundle)

            assert contents(store, TABLE) == expected
        store.close()
        log.close()


def follow(job: Job, course: list[tuple[str, int]], bundle: int) -> None:
    for action, partition in course:
        if action == "read":
            job.read(partition, bundle)
        else:
            job.flush()
    job.flush()


def finish(job: Job, bundle: int) -> None:
    while sum(job.read(partition, bundle) for partition in range(PARTITIONS)):
        pass
    job.flush()


def folded(store: SqliteViews) -> list[tuple[int, Progress]]:
    return list(store.progress(TABLE).items())


def behind(progress: Progress, records: int) -> Progress:
    # The watermark only ever grows: one of a later position comes to the same in the end.
    return Progress(max(0, progress.next_offset - records), progress.watermark_us)


def test_an_event_that_was_copied_twice_counts_once_after_a_restart_too() -> None:
    """What was copied last is in the state, with the rows."""
    states = Keyed()
    states.partition = 0

    fold_copies(states, offsets=[0, 1], origins=[(2, 10), (2, 11)])
    commit = fold_copies(states, offsets=[2, 3], origins=[(2, 11), (2, 12)])

    (row,) = pickle.loads(commit.rows)  # noqa: S301
    deposits = row.columns[1]
    assert (deposits, row.offset, commit.origins) == (3, 3, '{"2":12}')


def fold_copies(states: Keyed, *, offsets: list[int], origins: list[tuple[int, int]]) -> Commit:
    """Fold records of one key by a new fold, as after a restart, and return what it commits."""
    stored = Stored(
        progress={0: Progress()},
        lazy=False,
        load=lambda _keys: {},
        rows=pickle.dumps,
        dead_letters=pickle.dumps,
        origins=lambda its: msgspec.json.encode(its.origins).decode(),
    )
    new_kernel = partial(Kernel, Account, events=EVENTS, rows_max=100)
    fold = SubtaskFold(lambda load: new_kernel(load=load), states=states, stored=stored)
    records = [record(0, "ana", offset) for offset in offsets]
    keys, values = [each.key for each in records], [each.value for each in records]
    times = [each.event_time_us for each in records]
    bundle = Bundle(0, offsets[-1] + 1, times[-1], offsets, keys, values, times, times, origins)
    fold.take(msgspec.msgpack.encode(bundle))
    answer = fold.take(msgspec.msgpack.encode(Bundle(0, FLUSH, 0, [], [], [], [], [], [])))
    assert answer is not None
    return _decode_commit(answer)
