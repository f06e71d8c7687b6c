"""The laws of the kernel, on logs that Hypothesis draws: rows are a function of the log, and of nothing else."""

from __future__ import annotations

import decimal
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from model import ledger, oracle
from model.ledger import CANCELLED, GOOD, JUNK, OTHER, UPDATE

from kappa import View
from kappa.model.kernel import Kernel
from kappa.model.partitioning import group_partitions, partition_of
from kappa.model.records import Changes, RecordBatch, RowChange
from kappa.model.schema import ColumnType, encode_key
from kappa.model.views import view_spec

Record = tuple[bytes | None, bytes, int]
Log = Sequence[Sequence[Record]]  # partition -> records

numbers = st.integers(0, 10_000) | st.integers(0, 30)
drawn_records = st.lists(st.tuples(st.integers(0, ledger.KINDS_COUNT - 1), st.integers(0, 4), numbers), max_size=40)
views = st.sampled_from(ledger.VIEWS)


def log_of(view: type[View], drawn: Sequence[tuple[int, int, int]], *, partition_count: int) -> Log:
    """Return the log that a view reads: each record in the partition of its key."""
    partitions: list[list[Record]] = [[] for _ in range(partition_count)]
    for kind, user, number in drawn:
        keys, value, time_us = ledger.record(kind, user, number)
        key = None if keys is None else encode_key(tuple(keys[name] for name in view_spec(view).key))
        partitions[partition_of(key, partition_count)].append((key, value, time_us))
    return partitions


class Store:
    """What was committed: rows by key, dead letters by place, and positions."""

    def __init__(self) -> None:
        self.rows: dict[bytes, RowChange] = {}
        self.letters: dict[tuple[int, int], Any] = {}
        self.positions: dict[int, int] = {}

    def load(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {key: self.rows[key].state for key in keys if key in self.rows}

    def commit(self, changes: Changes, positions: Mapping[int, int]) -> None:
        assert [row.key for row in changes.rows] == sorted({row.key for row in changes.rows})
        for row in changes.rows:
            before = self.rows.get(row.key)
            assert before is None or (before.partition, before.offset) < (row.partition, row.offset)
        self.rows |= {row.key: row for row in changes.rows}
        self.letters |= {(letter.partition, letter.offset): letter for letter in changes.dead_letters}
        self.positions |= positions


def batch_of(partition: int, records: Sequence[Record], start: int, end: int) -> RecordBatch:
    keys, values, times = zip(*records[start:end], strict=True)
    return RecordBatch(partition, range(start, end), keys, values, times, [0] * (end - start), end)


def undisturbed(view: type[View], log: Log) -> Store:
    """Fold each partition in one batch with everything in memory, and commit once."""
    store = Store()
    kernel = Kernel(view, events=ledger.EVENTS, load=store.load, rows_max=10_000)
    for partition, records in enumerate(log):
        if records:
            kernel.fold(batch_of(partition, records, 0, len(records)))
    store.commit(kernel.take_changes(), {partition: len(records) for partition, records in enumerate(log)})
    return store


class Plan(msgspec.Struct, frozen=True):
    """How a version is folded: for each step (partition, records in the batch, what happens after it)."""

    group_count: int
    rows_max: int
    store_empty: bool
    steps: Sequence[tuple[int, int, str]]


plans = st.builds(
    Plan,
    group_count=st.integers(1, 3),
    rows_max=st.sampled_from([2, 3, 4, 100]),
    store_empty=st.booleans(),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 6), st.sampled_from(["go on", "commit", "crash"])), min_size=1
    ),
)


def folded(view: type[View], log: Log, plan: Plan, store: Store | None = None) -> Store:
    """Fold a log by a plan, which starts again at its end, with fewer crashes, until everything is folded."""
    store = Store() if store is None else store
    for group in range(plan.group_count):
        partitions = group_partitions(group, group_count=plan.group_count, partition_count=len(log))
        _fold_group(view, log, partitions, plan, store)
    return store


def _fold_group(view: type[View], log: Log, partitions: Sequence[int], plan: Plan, store: Store) -> None:
    def new_kernel(*, store_empty: bool) -> Kernel:
        return Kernel(view, events=ledger.EVENTS, load=store.load, rows_max=plan.rows_max, store_empty=store_empty)

    # A kernel that knows the store to be empty must not look into it, not even for rows that it wrote itself.
    kernel = new_kernel(store_empty=plan.store_empty)
    positions = {partition: store.positions.get(partition, 0) for partition in partitions}
    crashes_left = 20
    while True:
        for choice, size, then in plan.steps:
            behind = [partition for partition in partitions if positions[partition] < len(log[partition])]
            if not behind:
                store.commit(kernel.take_changes(), positions)
                return
            partition = behind[choice % len(behind)]
            start = positions[partition]
            end = min(start + size, len(log[partition]))
            kernel.fold(batch_of(partition, log[partition], start, end))
            positions[partition] = end
            if then == "crash" and crashes_left:
                crashes_left -= 1
                kernel = new_kernel(store_empty=False)
                positions = {partition: store.positions.get(partition, 0) for partition in partitions}
            elif then == "commit" or kernel.full:
                store.commit(kernel.take_changes(), dict(positions))


@given(views, drawn_records, st.integers(1, 4), plans)
@example(ledger.ByShop, [(0, 0, 0), (0, 0, 1), (0, 0, 0)], 1, Plan(1, 2, True, [(0, 1, "go on")])).via(
    "rows left memory"
)
@example(ledger.Profile, [(CANCELLED, 0, 4), (CANCELLED, 0, 3)], 1, Plan(1, 2, False, [(0, 1, "crash")])).via(
    "first event fails"
)
def test_rows_and_dead_letters_are_those_of_an_undisturbed_run(view, drawn, partition_count, plan):
    """Whatever the batches, the commits, the workers, the crashes and the memory."""
    log = log_of(view, drawn, partition_count=partition_count)

    disturbed, calm = folded(view, log, plan), undisturbed(view, log)

    assert disturbed.letters == calm.letters
    assert disturbed.rows == calm.rows


@given(views, drawn_records, st.integers(1, 4), plans, st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
@example(ledger.Totals, [(0, 0, 1)] * 6, 1, Plan(1, 100, False, [(0, 1, "go on")]), 0, 3, 4).via("a row is ahead")
def test_a_version_may_start_from_rows_newer_than_its_position(view, drawn, partition_count, plan, position, near, far):
    """As a seed is that was read while its version went on: each row is of some moment after the position."""
    log = log_of(view, drawn, partition_count=partition_count)
    calm, seed = undisturbed(view, log), Store()
    for end in sorted([position, max(position, near), max(position, far)]):
        newer = undisturbed(view, [records[:end] for records in log])
        seed.rows |= {key: row for key, row in newer.rows.items() if end == position or sum(key) % 2 == end % 2}
    # Dead letters of what a row already holds are not made again, so a seed has them.
    newest = max(position, near, far)
    seed.letters = {place: letter for place, letter in calm.letters.items() if place[1] < newest}
    seed.positions = {partition: min(position, len(records)) for partition, records in enumerate(log)}

    plan = msgspec.structs.replace(plan, store_empty=False)

    assert folded(view, log, plan, seed).rows == calm.rows
    assert seed.letters == calm.letters


@given(views, drawn_records, st.integers(2, 5))
def test_rows_do_not_depend_on_the_number_of_partitions(view, drawn, partition_count):
    """But for their positions, which are those of the partitions."""
    one = undisturbed(view, log_of(view, drawn, partition_count=1))
    many = undisturbed(view, log_of(view, drawn, partition_count=partition_count))

    assert [letter.reason for letter in by_value(one)] == [letter.reason for letter in by_value(many)]
    assert {key: row.columns for key, row in one.rows.items()} == {key: row.columns for key, row in many.rows.items()}
    assert {key: placeless(view, row) for key, row in one.rows.items()} == {
        key: placeless(view, row) for key, row in many.rows.items()
    }


def by_value(store: Store) -> list[Any]:
    return sorted(store.letters.values(), key=lambda letter: (letter.value, letter.key or b"", letter.reason))


def placeless(view: type[View], row: RowChange) -> bytes:
    """Return a row's state without its offset."""
    state = msgspec.msgpack.decode(row.state, type=view)
    state._offset = -1
    return msgspec.msgpack.encode(state)


@given(views, drawn_records)
@example(ledger.Profile, [(GOOD, 0, 1), (CANCELLED, 0, 4), (GOOD, 0, 13), (GOOD, 0, 28), (CANCELLED, 0, 3)])
@example(ledger.Once, [(GOOD, 0, 1), (GOOD, 0, 1), (UPDATE, 0, 29), (UPDATE, 0, 29)])
def test_rows_are_what_plain_python_computes(view, drawn):
    records = [ledger.record(kind, user, number) for kind, user, number in drawn]
    rows, bad = oracle.expected(view.__name__, records)

    store = undisturbed(view, log_of(view, drawn, partition_count=1))

    assert sorted(offset for _, offset in store.letters) == bad
    assert {key: shown(view, row) for key, row in store.rows.items()} == {
        encode_key(key): plain(view, key, row) for key, row in rows.items()
    }


def shown(view: type[View], change: RowChange) -> dict[str, Any]:
    """Return a row's columns by name, JSON read."""
    spec = view_spec(view)
    columns = (*spec.key_columns, *spec.columns)
    assert change.columns is not None
    return {
        column.name: json.loads(value) if column.type is ColumnType.JSON and value is not None else value
        for column, value in zip(columns, change.columns, strict=True)
    }


def plain(view: type[View], key: tuple[Any, ...], row: dict[str, Any]) -> dict[str, Any]:
    """Return the oracle's row in the same form: counts for what it lists, times in JSON as text."""
    spec = view_spec(view)
    columns: dict[str, Any] = dict(zip(spec.key, key, strict=True))
    for column in spec.columns:
        value = row[column.name]
        columns[column.name] = len(value) if column.type is ColumnType.INTEGER and isinstance(value, list) else value
        if column.name == "first_stops" and value is not None:
            columns[column.name] = [at.isoformat().replace("+00:00", "Z") for at in value]
    return columns


TYPES: dict[ColumnType, type] = {
    ColumnType.TEXT: str,
    ColumnType.INTEGER: int,
    ColumnType.REAL: float,
    ColumnType.BOOLEAN: bool,
    ColumnType.DECIMAL: Decimal,
    ColumnType.TIMESTAMP: datetime,
    ColumnType.DATE: date,
    ColumnType.JSON: str,
}


@given(views, drawn_records)
def test_columns_are_of_exactly_their_types_and_state_reads_back(view, drawn):
    store = undisturbed(view, log_of(view, drawn, partition_count=1))

    spec = view_spec(view)
    for change in store.rows.values():
        for column, value in zip((*spec.key_columns, *spec.columns), change.columns or (), strict=True):
            assert (value is None and column.nullable) or type(value) is TYPES[column.type], (column, value)
            if isinstance(value, int):
                assert -(2**63) <= value < 2**63
            if isinstance(value, float | Decimal):
                assert Decimal(value).is_finite()
        assert msgspec.msgpack.encode(msgspec.msgpack.decode(change.state, type=view)) == change.state


@given(views, drawn_records, st.integers(0, 40))
def test_an_event_folds_completely_or_not_at_all(view, drawn, at):
    """A log without its bad records gives the same rows, but for positions."""
    log = log_of(view, drawn, partition_count=1)
    all_of_it = undisturbed(view, log)
    good = [record for offset, record in enumerate(log[0]) if (0, offset) not in all_of_it.letters]

    only_good = undisturbed(view, [good])

    assert only_good.letters == {}
    assert {key: placeless(view, row) for key, row in only_good.rows.items()} == {
        key: placeless(view, row) for key, row in all_of_it.rows.items()
    }


def test_a_row_s_position_is_that_of_its_last_event():
    drawn = [(GOOD, 0, 1), (GOOD, 1, 1), (OTHER, 0, 1), (JUNK, 0, 1), (GOOD, 0, 2), (JUNK, 0, 0)]
    log = log_of(ledger.Totals, drawn, partition_count=1)

    rows = undisturbed(ledger.Totals, log).rows

    assert {key: (row.partition, row.offset) for key, row in rows.items()} == {b"ana": (0, 4), b"bob": (0, 1)}


def test_offsets_may_have_gaps():
    """A log that was compacted by retention, or transactions' markers."""
    [records] = log_of(ledger.Totals, [(GOOD, 0, 1), (GOOD, 0, 2)], partition_count=1)
    keys, values, times = zip(*records, strict=True)
    store = Store()
    kernel = Kernel(ledger.Totals, events=ledger.EVENTS, load=store.load, rows_max=2)
    kernel.fold(RecordBatch(3, [100, 200], keys, values, times, [0, 0], 300))
    [row] = kernel.take_changes().rows

    assert (row.partition, row.offset, row.columns[1]) == (3, 200, 2)


def test_rows_leave_memory_and_come_back():
    store = Store()
    asked: list[bytes] = []

    def load(keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        asked.extend(keys)
        return store.load(keys)

    kernel = Kernel(ledger.Totals, events=ledger.EVENTS, load=load, rows_max=2)
    drawn = [(GOOD, user, 1) for user in (0, 1, 2, 0, 1, 2, 2)]
    [records] = log_of(ledger.Totals, drawn, partition_count=1)
    for start in range(len(records)):
        kernel.fold(batch_of(0, records, start, start + 1))
        assert kernel.full
        store.commit(kernel.take_changes(), {0: start + 1})

    assert asked == [b"ana", b"bob", b"cleo", b"ana", b"bob", b"cleo"]
    assert {key: row.columns[1] for key, row in store.rows.items()} == {b"ana": 2, b"bob": 2, b"cleo": 3}


def test_nothing_is_loaded_while_all_rows_are_in_memory():
    def load(keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        raise AssertionError(keys)

    kernel = Kernel(ledger.Totals, events=ledger.EVENTS, load=load, rows_max=100, store_empty=True)
    [records] = log_of(ledger.Totals, [(GOOD, user, 1) for user in (0, 1, 0)], partition_count=1)
    for start in range(len(records)):
        kernel.fold(batch_of(0, records, start, start + 1))
        kernel.take_changes()


# Nothing else has a say: neither the process's hash seed nor its time zone nor its decimal context.


def digest() -> str:
    """Return a hash of all rows and dead letters that a fixed log gives in all views, folded in small batches."""
    drawn = [(step * 7 % ledger.KINDS_COUNT, step % 5, step * 31) for step in range(300)]
    plan = Plan(group_count=2, rows_max=4, store_empty=True, steps=[(0, 5, "commit"), (1, 3, "go on"), (2, 4, "crash")])
    hashed = hashlib.sha256()
    for view in ledger.VIEWS:
        store = folded(view, log_of(view, drawn, partition_count=3), plan)
        for key in sorted(store.rows):
            hashed.update(repr(store.rows[key]).encode())
        for place in sorted(store.letters):
            hashed.update(repr(store.letters[place]).encode())
    return hashed.hexdigest()


SPOILED_CONTEXT = """
import decimal
for context in (decimal.DefaultContext, decimal.getcontext()):
    context.prec, context.rounding, context.capitals, context.clamp = 3, decimal.ROUND_UP, 0, 1
    context.Emax, context.Emin = 5, -5
    context.traps = dict.fromkeys(context.traps, False)
"""


@pytest.mark.parametrize(
    ("environment", "before"),
    [
        ({"PYTHONHASHSEED": "1"}, ""),
        ({"PYTHONHASHSEED": "2", "TZ": "America/New_York"}, ""),
        ({"PYTHONHASHSEED": "3", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}, SPOILED_CONTEXT),
        ({"PYTHONOPTIMIZE": "1"}, "import sys; sys.setrecursionlimit(5_000)"),
    ],
    ids=["hash seed", "time zone", "decimal context", "optimised"],
)
def test_rows_do_not_depend_on_the_process(environment, before):
    code = f"{before}\nfrom model.test_kernel import digest\nprint(digest())"
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.stdout.strip() == digest(), process.stderr


def test_rows_do_not_depend_on_the_decimal_context_of_the_moment():
    expected = digest()
    odd = decimal.Context(prec=2, rounding=decimal.ROUND_UP, capitals=0, Emax=3, Emin=-3, traps=[])

    with decimal.localcontext(odd):
        assert digest() == expected


def test_rows_do_not_depend_on_the_depth_of_the_stack():
    """A record that is nested deeply is refused at a depth of its own, not at the interpreter's."""

    def deeper(levels: int) -> str:
        return digest() if levels == 0 else deeper(levels - 1)

    assert deeper(300) == digest()
