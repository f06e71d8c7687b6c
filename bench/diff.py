"""Diff: two versions of a view compared row by row, nothing moving, against a plain scan of both."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from bench.measure import Figure, at_least_of_yardstick, in_turns, timed
from bench.settings import Settings
from kappa.adapters.sqlite.log import SqliteLogs
from kappa.adapters.sqlite.views import SqliteViews
from kappa.control.counting import Counting
from kappa.control.diffing import diff
from kappa.model.partitioning import partition_of
from kappa.model.records import Changes, Progress, RowChange
from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.ports import Version

PARTITIONS, BATCH = 4, 10_000
START = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = (
    Column("email", ColumnType.TEXT, nullable=True),
    Column("orders", ColumnType.INTEGER),
    Column("spent", ColumnType.DECIMAL),
    Column("rating", ColumnType.REAL),
    Column("last_order_at", ColumnType.TIMESTAMP, nullable=True),
    Column("tags", ColumnType.JSON),
)


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    rows = settings.memory_keys // 10
    store = SqliteViews(settings.folder / "diff")
    left, right = (_version(store, number, rows) for number in (1, 2))
    log = SqliteLogs(settings.folder / "diff-logs").open("events", partition_count=PARTITIONS)

    def scan() -> None:
        assert sum(1 for version in (left, right) for _ in store.scan(version.table)) == 2 * rows

    def compare() -> Iterator[object]:
        report = yield from diff(left, right, store=store, log=log, load_counting=_no_code, samples_max=0)
        assert (report.compared, report.changed, report.unverified) == (rows, rows // 100 - 1, 0)

    rates = in_turns(
        {"scan": lambda: timed(scan, events=rows), "diff": lambda: timed(lambda: list(compare()), events=rows)},
        rounds=settings.rounds,
    )
    log.close()
    store.close()
    ratios = tuple(one / other for one, other in zip(rates["diff"], rates["scan"], strict=True))
    return [
        Figure("a plain scan of both", "keys/s", rates["scan"]),
        Figure("diff, one row in a hundred changed", "keys/s", rates["diff"], ratios, at_least_of_yardstick(0.15)),
    ]


def _no_code(version: Version) -> Counting:
    raise AssertionError(f"nothing has moved, so the code of {version.table.name} is not needed")


def _version(store: SqliteViews, number: int, rows: int) -> Version:
    """Write a version whose keys come in an order of its own, as those of another number of workers do."""
    table = ViewTable("customer", number, (Column("user_id", ColumnType.TEXT),), COLUMNS, "events", PARTITIONS, 1)
    store.create(table)
    order = list(range(rows))
    random.Random(number).shuffle(order)
    with store.writer(table, 0, epoch=1) as writer:
        for at in range(0, rows, BATCH):
            changes = Changes([_row(each, number) for each in order[at : at + BATCH]])
            writer.commit(changes, dict.fromkeys(range(PARTITIONS), Progress(rows)))
    return Version(table=table, fingerprint=f"{number}", parts={}, bundle="", created_at=START, seeded=True)


def _row(at: int, number: int) -> RowChange:
    key = f"user-{at}"
    spent = Decimal(at * (number if at % 100 == 0 else 1)) / 100
    columns = (
        key,
        f"{key}@example.org",
        at % 50,
        spent,
        at / 7,
        START + timedelta(seconds=at),
        f'["tag-{at % 10}"]',
    )
    return RowChange(key.encode(), columns, b"\x90", partition_of(key.encode(), PARTITIONS), at)
