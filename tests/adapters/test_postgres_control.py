"""The control store on PostgreSQL keeps the laws of a control store, and what is particular to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

import msgspec
import psycopg
import pytest

from kappa.adapters.postgres import control_release
from kappa.adapters.postgres.control import PostgresControl
from kappa.adapters.postgres.opening import open_control, open_views
from kappa.errors import StoreUnavailable
from kappa.model.records import Changes, RowChange
from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.ports import Release, RunReport, ViewStore
from kappa.testing.control_conformance import ControlStoreConformance
from kappa.testing.deployments import CITIES, CITIES_2, CODE, USERS, USERS_2, deployment, entry
from kappa.testing.eventually import eventually
from kappa.testing.processes import run_and_kill

ONE, TWO = Release(1, {"users": 1, "cities": 1}), Release(2, {"users": 2, "cities": 2})


def open_postgres_control(dsn: str, prefix: str, project: str = "shop") -> PostgresControl:
    return open_control(dsn, schema_prefix=prefix, project=project)


class TestPostgresControl(ControlStoreConformance):
    @pytest.fixture
    def open_control(self, postgres) -> Callable[[], PostgresControl]:
        return partial(open_postgres_control, *postgres)


@pytest.fixture
def control(postgres) -> Iterator[PostgresControl]:
    """Two versions of two views; the second of `users` has a column more, and one of another type."""
    with closing(open_postgres_control(*postgres)) as control:
        control.store_bundle(CODE)
        other = (Column("orders", ColumnType.REAL), Column("spent", ColumnType.DECIMAL))
        for table in (USERS, msgspec.structs.replace(USERS_2, columns=other), CITIES, CITIES_2):
            control.deploy(deployment(table))
        yield control


@pytest.fixture
def client(postgres) -> Iterator[psycopg.Connection]:
    """Any SQL client."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"SET search_path = {postgres.prefix}")
        yield connection


def columns_of(client: psycopg.Connection, view: str) -> list[str]:
    described = client.execute(f"SELECT * FROM {view} LIMIT 0").description or []
    return [column.name for column in described]


def write(views: ViewStore, table: ViewTable, row: RowChange) -> None:
    with views.writer(table, 0, epoch=1) as writer:
        writer.commit(Changes([row]), {})


def test_a_client_reads_the_primary_by_the_view_s_name(control, client, postgres):
    control.change_release(ONE, expected_revision=0, entry=entry("1"))
    with closing(open_views(postgres.dsn, schema_prefix=postgres.prefix)) as views:
        write(views, USERS, RowChange(b"ana", ("ana", 3, None), b"s", 0, 1))

    assert client.execute("SELECT user_id, orders FROM users").fetchall() == [("ana", 3)]
    assert columns_of(client, "users") == ["user_id", "orders", "email", "_partition", "_offset", "_step"]

    control.change_release(TWO, expected_revision=1, entry=entry("2"))

    assert columns_of(client, "users") == ["user_id", "orders", "spent", "_partition", "_offset", "_step"]
    assert client.execute("SELECT * FROM users").fetchall() == []


def test_a_view_that_is_served_no_more_is_gone(control, client):
    control.change_release(ONE, expected_revision=0, entry=entry("1"))
    control.change_release(Release(2, {"users": 1}), expected_revision=1, entry=entry("2"))

    with pytest.raises(psycopg.errors.UndefinedTable):
        client.execute("SELECT * FROM cities")


def test_what_others_made_of_a_view_outlives_a_promotion_that_keeps_its_columns(control, client):
    control.change_release(ONE, expected_revision=0, entry=entry("1"))
    client.execute("CREATE VIEW big_cities AS SELECT user_id FROM cities WHERE orders > 100")

    control.change_release(Release(2, {"users": 1, "cities": 2}), expected_revision=1, entry=entry("2"))

    assert client.execute("SELECT * FROM big_cities").fetchall() == []


def test_a_promotion_that_would_take_what_others_made_of_a_view_is_refused_whole(control, client):
    control.change_release(ONE, expected_revision=0, entry=entry("1"))
    client.execute("CREATE VIEW big_users AS SELECT user_id FROM users WHERE orders > 100")

    with pytest.raises(StoreUnavailable, match="other objects depend on it") as refusal:
        control.change_release(TWO, expected_revision=1, entry=entry("2"))

    assert not refusal.value.retryable
    assert control.release() == ONE
    assert columns_of(client, "users")[2] == "email"


def test_no_reader_ever_misses_a_view_or_sees_two_releases(control, postgres, client):
    """Both views change back and forth, `users` in its columns too, and a client reads both all the time."""
    control.change_release(ONE, expected_revision=0, entry=entry("1"))
    with closing(open_views(postgres.dsn, schema_prefix=postgres.prefix)) as views:
        for deployed in control.versions():
            number = deployed.table.version
            views.create(deployed.table)
            write(views, deployed.table, RowChange(b"ana", ("ana", number, None), b"s", 0, offset=number))
    seen: list[tuple[int, int]] = []

    def seen_enough() -> bool:
        # A row's offset says which version it is of.
        seen.extend(client.execute("SELECT u._offset, c._offset FROM users u JOIN cities c USING (user_id)"))
        return len(seen) > 100 and {(1, 1), (2, 2)} <= set(seen)

    run_and_kill(switch_on, partial(open_postgres_control, *postgres), when=seen_enough)

    assert set(seen) == {(1, 1), (2, 2)}


def switch_on(open_control: Callable[[], PostgresControl]) -> None:
    """Promote both versions in turn from where the release is, until killed."""
    with closing(open_control()) as control:
        while True:
            revision = control.release().revision + 1
            primaries = {"users": revision % 2 + 1, "cities": revision % 2 + 1}
            control.change_release(
                Release(revision, primaries), expected_revision=revision - 1, entry=entry(f"switch {revision}")
            )


def test_a_promotion_waits_for_a_long_reader_and_lets_others_pass(control, postgres, client):
    control.change_release(ONE, expected_revision=0, entry=entry("1"))
    promoted = threading.Event()

    def promote() -> None:
        with closing(open_postgres_control(*postgres)) as other:
            other.change_release(TWO, expected_revision=1, entry=entry("2"))
            promoted.set()

    with psycopg.connect(postgres.dsn) as reader:
        reader.execute(f"SELECT * FROM {postgres.prefix}.users")
        promotion = threading.Thread(target=promote)
        promotion.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        eventually(lambda: client.execute(waiting).fetchone() == (1,))

        client.execute("SET lock_timeout = '5s'")
        assert columns_of(client, "users")[2] == "email"
        assert not promoted.is_set()
        reader.rollback()
    promotion.join()

    assert columns_of(client, "users")[2] == "spent"


def test_a_promotion_gives_up_when_somebody_reads_without_end(control, postgres, client, monkeypatch):
    control.change_release(ONE, expected_revision=0, entry=entry("1"))
    monkeypatch.setattr(control_release, "SWAP_ATTEMPTS_MAX", 2)

    with psycopg.connect(postgres.dsn) as reader:
        reader.execute(f"SELECT * FROM {postgres.prefix}.users")
        with pytest.raises(StoreUnavailable, match="lock timeout") as refusal:
            control.change_release(TWO, expected_revision=1, entry=entry("2"))

    assert refusal.value.retryable
    assert control.release() == ONE


@pytest.mark.parametrize("number", range(5))
def test_schemas_are_created_once_however_many_come_first(postgres, number):
    together = threading.Barrier(8)

    def open_at_once() -> int:
        together.wait()
        with closing(open_postgres_control(*postgres)) as control:
            return len(control.versions())

    with ThreadPoolExecutor(together.parties) as threads:
        opened = [threads.submit(open_at_once) for _ in range(together.parties)]

    assert [each.result() for each in opened] == [0] * together.parties


def test_a_reader_never_waits_for_a_writer(control, postgres):
    with closing(open_postgres_control(*postgres)) as other, other._transaction() as writing:
        writing.execute("UPDATE release SET document = '{}'")

        assert (control.release(), len(control.versions()), control.last_report()) == (Release(0, {}), 4, None)


def test_only_a_report_may_be_lost_with_the_power(control):
    report = RunReport(1, datetime(2026, 3, 1, tzinfo=UTC), [])
    with control._transaction() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)

    control.report(report)

    assert control.last_report() == report
    with control._transaction() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_a_database_of_another_format_is_refused(control, postgres, postgres_server):
    postgres_server.execute(f"UPDATE {postgres.prefix}_control.format SET number = 7")

    with pytest.raises(StoreUnavailable, match="is 7, and this release of kappa reads format 2") as refusal:
        open_postgres_control(*postgres)

    assert not refusal.value.retryable
