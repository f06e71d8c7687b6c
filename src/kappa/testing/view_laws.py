"""What the laws of a view store have in common: the store, the versions in it, and how to say a row in a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from kappa.model.partitioning import partition_of
from kappa.model.records import Changes, DeadLetter, RowChange
from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.ports.views import QueryResult, ViewStore, ViewWriter
from kappa.testing.conformance import Conformance

USERS = ViewTable(
    view="users",
    version=1,
    key=(Column("user_id", ColumnType.TEXT),),
    columns=(Column("orders", ColumnType.INTEGER),),
    log="events",
    partition_count=1,
    group_count=1,
)
GROUPED = msgspec.structs.replace(USERS, view="grouped", partition_count=4, group_count=2)
ROUTES = msgspec.structs.replace(
    USERS, view="routes", key=(Column("carrier", ColumnType.TEXT), Column("month", ColumnType.INTEGER))
)
NUMBERED = msgspec.structs.replace(USERS, view="numbered", key=(Column("number", ColumnType.INTEGER),))
TYPES = msgspec.structs.replace(
    USERS, view="types", columns=tuple(Column(f"a_{kind}", kind, nullable=True) for kind in ColumnType)
)

# Differing executors: one session may hold several adapters to the same law.
EXAMPLES = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


def user(name: str, offset: int, *, orders: int = 0, step: int = 0, due_us: int | None = None) -> RowChange:
    """Return a row of `USERS`; its state says where it is true."""
    return RowChange(name.encode(), (name, orders), f"{offset}.{step}".encode(), 0, offset, step, due_us)


def deleted(name: str, offset: int, *, step: int = 0) -> RowChange:
    return RowChange(name.encode(), None, None, 0, offset, step)


def letter(offset: int, *, partition: int = 0, reason: str = "expected `int`") -> DeadLetter:
    return DeadLetter(partition, offset, b"ana", b"{}", reason, event_time_us=7)


def grouped(name: str, offset: int) -> RowChange:
    """Return a row of `GROUPED`, in the partition of its key."""
    return msgspec.structs.replace(user(name, offset), partition=partition_of(name.encode(), GROUPED.partition_count))


def of_group(rows: Sequence[RowChange], group: int) -> list[RowChange]:
    return [row for row in rows if GROUPED.group_of(row.partition) == group]


def commit(views: ViewStore, table: ViewTable, *rows: RowChange) -> None:
    """Commit rows to a version with one group, created if need be."""
    views.create(table)
    with views.writer(table, 0, epoch=1) as writer:
        writer.commit(Changes(sorted(rows, key=lambda row: row.key)), {})


def fresh(views: ViewStore, table: ViewTable) -> None:
    """Give every example of a property an empty table."""
    views.drop(table)
    views.create(table)


def ask(views: ViewStore, sql: str, *tables: ViewTable, rows_max: int = 100, timeout_s: float = 30.0) -> QueryResult:
    relations = {table.view: table for table in tables or (USERS,)}
    return views.query(sql, views=relations, rows_max=rows_max, timeout_s=timeout_s)


class ViewLaws(Conformance):
    """The store that the laws are about; see `ViewStoreConformance`."""

    @pytest.fixture
    def views(self, open_views: Callable[[], ViewStore]) -> Iterator[ViewStore]:
        with closing(open_views()) as views:
            views.create(USERS)
            views.create(GROUPED)
            yield views

    @pytest.fixture
    def writer(self, views: ViewStore) -> Iterator[ViewWriter]:
        with views.writer(USERS, 0, epoch=1) as writer:
            yield writer
