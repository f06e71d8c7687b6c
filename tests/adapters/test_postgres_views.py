"""The view store on PostgreSQL keeps the laws of a view store, and what is particular to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.adapters.postgres.opening import open_views
from kappa.adapters.postgres.roles import roles_sql
from kappa.adapters.postgres.stored_table import stored_table
from kappa.adapters.postgres.views import PostgresViews
from kappa.errors import Fenced, QueryError, StoreUnavailable
from kappa.model.records import Changes, Progress, RowChange
from kappa.model.schema import Column, ColumnType
from kappa.ports.views import StoredRow
from kappa.testing.eventually import eventually
from kappa.testing.processes import run_together
from kappa.testing.view_laws import EXAMPLES, GROUPED, ROUTES, TYPES, USERS, ask, commit, fresh, letter, user
from kappa.testing.views_conformance import ViewStoreConformance


def open_postgres_views(dsn: str, prefix: str) -> PostgresViews:
    return open_views(dsn, schema_prefix=prefix)


def create_users(dsn: str, prefix: str) -> int:
    with closing(open_postgres_views(dsn, prefix)) as views:
        views.create(USERS)
        return views.row_count(USERS)


class TestPostgresViews(ViewStoreConformance):
    @pytest.fixture
    def open_views(self, postgres) -> Callable[[], PostgresViews]:
        return partial(open_postgres_views, *postgres)


@pytest.fixture
def views(postgres) -> Iterator[PostgresViews]:
    with closing(open_postgres_views(*postgres)) as views:
        views.create(USERS)
        yield views


def typed(**values: object) -> RowChange:
    columns = ("ana", *(values.get(column.type) for column in TYPES.columns))
    return RowChange(b"ana", columns, b"state", 0, 1)


@EXAMPLES
@given(
    text=st.text(st.sampled_from("a\0\N{SYMBOL FOR NULL}0#\\\t\n\r\"'") | st.characters(codec="utf-8")),
    json_text=st.text().map(json.dumps),
)
def test_text_that_postgresql_cannot_hold_or_copy_comes_back_as_it_was(views, text, json_text):
    fresh(views, TYPES)

    commit(views, TYPES, typed(text=text, json=json_text))

    row = views.get(TYPES, b"ana")
    assert row is not None
    by_type = dict(zip([column.type for column in TYPES.columns], row.columns[1:], strict=True))
    assert (by_type[ColumnType.TEXT], by_type[ColumnType.JSON]) == (text, json_text)


@pytest.mark.parametrize("text", ["1.50", "0.00", "12345678901234567890.1234567890", "-1E-20", "9" * 1_000])
def test_a_decimal_keeps_its_digits(views, text):
    commit(views, TYPES, typed(decimal=Decimal(text)))

    row = views.get(TYPES, b"ana")
    assert row is not None
    assert row.columns[5].as_tuple() == Decimal(text).as_tuple()


@EXAMPLES
@given(
    names=st.sets(
        st.builds(lambda start, count, end: start + "x" * count + end, st.text(), st.integers(0, 9_000), st.text()),
        max_size=5,
    )
)
def test_a_key_that_is_too_long_for_an_index_is_a_key(views, names):
    fresh(views, USERS)
    rows = [user(name, 1) for name in names]
    commit(views, USERS, *rows)

    expected = {row.key: StoredRow(row.columns or (), b"1.0", 0, 1, 0, None) for row in rows}
    assert views.get_many(USERS, [*expected]) == expected
    assert {row.columns[0] for row in views.scan(USERS)} == names
    with views.writer(USERS, 0, epoch=1) as writer:
        assert writer.get_many([*expected]).keys() == expected.keys()


def test_names_that_postgresql_does_not_take_are_changed(views):
    odd = msgspec.structs.replace(
        USERS,
        view="v" * 80,
        columns=tuple(Column(name, ColumnType.INTEGER) for name in ("xmin", "select", "c" * 70 + "1", "c" * 70 + "2")),
    )
    other = msgspec.structs.replace(odd, view="v" * 81)
    views.create(other)

    commit(views, odd, RowChange(b"ana", ("ana", 1, 2, 3, 4), b"", 0, 1))

    assert [row.columns for row in views.scan(odd)] == [("ana", 1, 2, 3, 4)]
    assert views.row_count(other) == 0


def test_a_writer_of_a_table_that_was_created_anew_is_fenced(views, postgres):
    """Two that make one seed: the second drops what the first still writes."""
    with views.writer(USERS, 0, epoch=1) as stale:
        stale.commit(Changes([user("ana", 1)]), {})
        with closing(open_postgres_views(*postgres)) as other:
            other.drop(USERS)
            other.create(USERS)

        with pytest.raises(Fenced):
            stale.commit(Changes([user("eva", 3)]), {})

    assert views.row_count(USERS) == 0


def test_a_version_that_was_not_created_cannot_be_written(views):
    with pytest.raises(StoreUnavailable, match="routes__v1") as refusal:
        views.writer(ROUTES, 0, epoch=1)

    assert refusal.value.next_step == "run kappa up, which creates it"


def test_schemas_are_created_once_by_whoever_comes_first(postgres):
    assert run_together(create_users, *[tuple(postgres)] * 3) == [0, 0, 0]


def test_a_database_of_another_format_is_refused(views, postgres, postgres_server):
    postgres_server.execute(f"UPDATE {postgres.prefix}_views.format SET number = 7")

    with pytest.raises(StoreUnavailable, match="is 7, and this release of kappa reads format 2") as refusal:
        open_postgres_views(*postgres)

    assert not refusal.value.retryable


def test_what_is_no_connection_string_is_refused_without_repeating_it():
    with pytest.raises(StoreUnavailable) as refusal:
        open_views("postgresql://ana:secret@[::1/kappa?nonsense=secret")

    assert not refusal.value.retryable
    assert "secret" not in f"{refusal.value.message} {refusal.value.next_step} {refusal.value.__cause__}"


def test_a_server_that_is_not_there_is_named_and_no_password(free_port):
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{free_port}/kappa") as refusal:
        open_views(f"postgresql://ana:secret@127.0.0.1:{free_port}/kappa")

    assert refusal.value.retryable
    assert "secret" not in refusal.value.message


@pytest.mark.parametrize(
    "sql",
    [
        "COPY users TO '/tmp/users'",
        "SET statement_timeout = 0",
        "SELECT nextval('{prefix}_control.x')",
        "WITH gone AS (DELETE FROM {prefix}_views.users__v1 RETURNING 1) SELECT * FROM gone",
        "SELECT 1) AS answer; DELETE FROM {prefix}_views.users__v1 --",
        "SELECT 1 FOR UPDATE; COMMIT",
    ],
)
def test_a_query_can_only_select(views, postgres, sql):
    commit(views, USERS, user("ana", 1))

    with pytest.raises(QueryError):
        ask(views, sql.format(prefix=postgres.prefix))

    assert views.row_count(USERS) == 1


def test_a_query_leaves_nothing_behind(views, postgres_server):
    ask(views, "SELECT lo_create(4711)")
    ask(views, "SELECT set_config('search_path', 'nowhere', false), pg_advisory_lock(7)")

    # The server lets go of a lock when it notices that the session has ended.
    again = "SELECT current_setting('search_path'), pg_try_advisory_lock(7)"
    eventually(lambda: ask(views, again).rows == [("pg_catalog", True)])
    assert postgres_server.execute("SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 4711") == [(0,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT orders FROM users; ",
        "TABLE users",
        "-- all\nSELECT 1 -- one",
        "VALUES (1), (2)",
        "SELECT 1 WHERE '%s' = '%'",
    ],
)
def test_a_query_is_any_form_of_select(views, sql):
    ask(views, sql)


def test_a_query_keeps_its_order(views):
    commit(views, USERS, *(user(f"user-{n:03}", n) for n in range(500)))

    found = ask(views, "WITH u AS (SELECT * FROM users) SELECT user_id FROM u ORDER BY _offset DESC", rows_max=3)

    assert found.rows == [("user-499",), ("user-498",), ("user-497",)]


def test_what_json_has_no_word_for_is_text_in_a_query(views):
    answer = ask(
        views, "SELECT sum(1.5), avg(2), ARRAY[1, 2], interval '1 day', 'infinity'::timestamptz, b'101', now()"
    )

    *others, now = answer.rows[0]
    assert others == ["1.5", "2.0000000000000000", "{1,2}", "1 day", "infinity", "101"]
    assert now.endswith("Z")


def test_a_query_says_what_it_could_have_read(views):
    with pytest.raises(QueryError) as refusal:
        ask(views, "SELECT * FROM user_s", USERS, ROUTES)

    assert refusal.value.message == 'cannot answer the query: relation "user_s" does not exist'
    assert refusal.value.next_step == "write one SELECT; it can read: users, routes"


def test_a_snapshot_is_of_one_moment(views):
    """The port allows less: rows that are newer than the progress."""
    with views.writer(USERS, 0, epoch=1) as writer:
        writer.commit(Changes([user("ana", 1)], [letter(1)]), {0: Progress(2)})
        with views.snapshot(USERS, 0) as snapshot:
            writer.commit(Changes([user("ana", 2), user("ben", 3)], [letter(2)]), {0: Progress(4)})

            assert snapshot.progress == {0: Progress(2)}
            assert [row.offset for row in snapshot.rows] == [1]
            assert [each.offset for each in snapshot.dead_letters] == [1]


def test_an_error_of_whoever_reads_a_snapshot_is_not_the_store_s(views):
    with pytest.raises(ZeroDivisionError), views.snapshot(USERS, 0):
        1 / 0  # noqa: B018

    assert views.row_count(USERS) == 0


def test_a_commit_is_on_disk_whatever_the_role_says(views, postgres_server):
    with views.writer(USERS, 0, epoch=1) as writer, writer._transaction() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


@pytest.mark.parametrize("table", [USERS, ROUTES, TYPES])
def test_keys_are_looked_up_by_index(views, postgres, table):
    views.create(table)
    stored = stored_table(table, f"{postgres.prefix}_views")
    _, parameters = stored.wanted([b"ana", b'["UA",3]'])
    with views._database.transaction() as connection:
        connection.execute("SET LOCAL enable_seqscan = off")  # which is faster while there are no rows
        plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {stored.select_states}", parameters))

    assert "Index Scan using" in plan


def test_roles_have_the_rights_that_they_need_and_no_more(postgres, postgres_server):
    prefix = postgres.prefix
    for _ in range(2):
        postgres_server.execute(roles_sql(prefix))
    for role in ("owner", "writer", "reader"):
        postgres_server.execute(f"CREATE ROLE {prefix}_{role}_login LOGIN IN ROLE {prefix}_{role}")

    def dsn(role: str) -> str:
        return postgres.dsn.replace("kappa@", f"{prefix}_{role}_login@")

    postgres_server.execute(f"ALTER ROLE {prefix}_owner_login SET ROLE {prefix}_owner")
    with closing(open_postgres_views(dsn("owner"), prefix)) as owner:
        owner.create(USERS)
        with closing(open_postgres_views(dsn("writer"), prefix)) as writer:
            commit_only(writer, user("ana", 1))
            with pytest.raises(StoreUnavailable, match="permission denied") as refusal:
                writer.create(GROUPED)
            assert (refusal.value.retryable, refusal.value.next_step) == (
                False,
                "give its role the rights that it needs: kappa postgres roles",
            )
        with closing(open_views(dsn("owner"), query_dsn=dsn("reader"), schema_prefix=prefix)) as both:
            assert ask(both, "SELECT user_id FROM users").rows == [("ana",)]
            with pytest.raises(QueryError, match="permission denied"):
                ask(both, "SELECT rolpassword FROM pg_authid")
        with closing(open_postgres_views(dsn("reader"), prefix)) as reader, pytest.raises(StoreUnavailable):
            commit_only(reader, user("ben", 1))


def commit_only(views: PostgresViews, row: RowChange) -> None:
    with views.writer(USERS, 0, epoch=1) as writer:
        writer.commit(Changes([row]), {0: Progress(2)})


def test_our_own_mistake_is_not_taken_for_the_store_s(views):
    with views.writer(USERS, 0, epoch=1) as writer:
        with pytest.raises(psycopg.errors.NumericValueOutOfRange):
            writer.commit(Changes([user("ana", 1), user("ben", 2, orders=2**63)]), {0: Progress(3)})

        writer.commit(Changes([user("eva", 3)]), {})

    assert [row.columns for row in views.scan(USERS)] == [("eva", 0)]
    assert views.progress(USERS) == {0: Progress()}
