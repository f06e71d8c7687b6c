"""The laws of a view store about SQL queries."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest

from kappa.errors import QueryError
from kappa.model.records import Changes, RowChange
from kappa.model.schema import ColumnType
from kappa.ports.views import QueryResult, StoredRow, ViewStore
from kappa.testing.view_laws import (
    GROUPED,
    ROUTES,
    TYPES,
    USERS,
    ViewLaws,
    ask,
    commit,
    grouped,
    of_group,
    user,
)


class ViewQueryLaws(ViewLaws):
    """A query reads views, and can do nothing else."""

    def test_a_query_sees_public_columns_and_positions(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 5, orders=3, step=2))

        assert ask(views, "SELECT * FROM users") == QueryResult(
            ("user_id", "orders", "_partition", "_offset", "_step"), [("ana", 3, 0, 5, 2)], truncated=False
        )

    def test_a_query_sees_all_groups_of_a_view(self, views: ViewStore) -> None:
        rows = [grouped(f"user-{n}", n) for n in range(20)]
        for group in range(2):
            with views.writer(GROUPED, group, epoch=1) as writer:
                writer.commit(Changes(of_group(rows, group)), {})

        assert ask(views, "SELECT count(*) FROM grouped", GROUPED).rows == [(20,)]

    def test_a_query_joins_views(self, views: ViewStore) -> None:
        commit(views, USERS, user("UA", 1, orders=9))
        commit(views, ROUTES, RowChange(b'["UA",3]', ("UA", 3, 1), b"s", 0, 1))

        sql = "SELECT u.orders, r.month FROM users u JOIN routes r ON r.carrier = u.user_id"
        assert ask(views, sql, USERS, ROUTES).rows == [(9, 3)]

    def test_decimals_times_and_json_are_text_in_a_query(self, views: ViewStore) -> None:
        by_type = {
            ColumnType.DECIMAL: Decimal("1.50"),
            ColumnType.TIMESTAMP: datetime(2026, 3, 1, 12, tzinfo=UTC),
            ColumnType.DATE: date(2026, 3, 1),
            ColumnType.JSON: '{"a":1}',
        }
        columns = ("ana", *(by_type.get(column.type) for column in TYPES.columns))
        commit(views, TYPES, RowChange(b"ana", columns, b"", 0, 1))

        assert ask(views, "SELECT a_decimal, a_timestamp, a_date, a_json FROM types", TYPES).rows == [
            ("1.50", "2026-03-01T12:00:00.000000Z", "2026-03-01", '{"a":1}')
        ]

    def test_a_longer_answer_is_cut_and_says_so(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 1), user("ben", 2), user("eva", 3))
        sql = "SELECT user_id FROM users ORDER BY user_id"

        assert ask(views, sql, rows_max=2) == QueryResult(("user_id",), [("ana",), ("ben",)], truncated=True)
        assert not ask(views, sql, rows_max=3).truncated

    def test_a_version_that_was_never_created_is_an_empty_relation(self, views: ViewStore) -> None:
        absent = msgspec.structs.replace(USERS, view="absent")

        assert ask(views, "SELECT orders, _offset FROM absent", absent) == QueryResult(
            ("orders", "_offset"), [], truncated=False
        )

    @pytest.mark.parametrize(
        "sql",
        ["SELEKT 1", "SELECT nothing FROM users", "SELECT * FROM nowhere", "", "SELECT 1; SELECT 2", "SELECT '\ud800'"],
    )
    def test_wrong_sql_is_a_query_error(self, views: ViewStore, sql: str) -> None:
        with pytest.raises(QueryError):
            ask(views, sql)

    @pytest.mark.parametrize(
        "sql",
        [
            "DELETE FROM users",
            "UPDATE users SET orders = 1",
            "INSERT INTO users VALUES ('eva', 1)",
            "DROP VIEW users",
            "CREATE TABLE x (a INTEGER)",
            "BEGIN",
        ],
    )
    def test_a_query_cannot_write(self, views: ViewStore, sql: str) -> None:
        commit(views, USERS, user("ana", 1))

        with pytest.raises(QueryError):
            ask(views, sql)

        assert views.get(USERS, b"ana") == StoredRow(("ana", 0), b"1.0", 0, 1, 0, None)

    def test_a_query_that_takes_too_long_is_stopped(self, views: ViewStore) -> None:
        forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

        with pytest.raises(QueryError, match=r"longer than 0\.05 s"):
            ask(views, forever, timeout_s=0.05)
