"""The project lock in PostgreSQL keeps the laws of a project lock, and survives what happens to connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import msgspec
import pytest
from postgres_server import end_session_of

from kappa.adapters.postgres.lock import PostgresLock
from kappa.adapters.postgres.opening import open_lock
from kappa.errors import StoreUnavailable, TakenOver
from kappa.testing.eventually import eventually
from kappa.testing.lock_conformance import NOON, ProjectLockConformance, taken
from kappa.testing.processes import this_process

HERE = this_process(NOON)
ELSEWHERE = msgspec.structs.replace(HERE, host="db-2", pid=7)


def open_postgres_lock(dsn: str, prefix: str) -> PostgresLock:
    return open_lock(dsn, schema_prefix=prefix)


class TestPostgresLock(ProjectLockConformance):
    @pytest.fixture
    def open_lock(self, postgres) -> Callable[[], PostgresLock]:
        return partial(open_postgres_lock, *postgres)


@pytest.fixture
def lock(postgres) -> Iterator[PostgresLock]:
    with closing(open_postgres_lock(*postgres)) as lock:
        yield lock


@pytest.fixture
def other(postgres) -> Iterator[PostgresLock]:
    with closing(open_postgres_lock(*postgres)) as other:
        yield other


def test_a_lock_whose_connection_was_lost_is_taken_again_if_it_is_free(postgres, lock, other):
    lock.take(HERE)
    end_session_of(other, postgres.dsn)

    lock.check()

    assert other.holder() == HERE


def test_a_lock_that_was_lost_and_taken_by_another_is_given_up(postgres, lock, other):
    lock.take(HERE)
    end_session_of(other, postgres.dsn)
    other.take(ELSEWHERE)

    for _ in range(2):
        with pytest.raises(TakenOver) as lost:
            lock.check()
        assert lost.value.holder == "process 7 on db-2, since 2026-03-01 12:00:00 UTC"
    lock.close()
    assert other.holder() == ELSEWHERE


def test_a_session_of_ours_that_the_server_has_not_missed_yet_is_nobody_else(lock, other):
    """A cut network: this side knows of it before the server does."""
    lock.take(HERE)
    lost, lock._session = lock._session, None

    with pytest.raises(StoreUnavailable, match="for a session that was lost") as refused:
        lock.check()
    assert refused.value.retryable
    lost.close()

    eventually(lambda: other.holder() is None)
    lock.check()
    assert other.holder() == HERE


def test_projects_in_one_database_have_locks_of_their_own(postgres, lock):
    lock.take(HERE)

    with closing(open_postgres_lock(postgres.dsn, f"{postgres.prefix}_b")) as neighbour:
        assert neighbour.holder() is None
        assert taken(neighbour, ELSEWHERE)


def test_a_host_name_that_a_session_cannot_bear_is_cut(lock, other):
    lock.take(msgspec.structs.replace(HERE, host="ünbelievably-" + "long-" * 20))

    assert other.holder().host.startswith("?nbelievably-long-long-")
    lock.check()
