"""The view store on SQLite keeps the laws of a view store, and what is particular to its files."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from kappa.adapters.sqlite.stored_table import stored_table
from kappa.adapters.sqlite.views import _ROW_COUNT, SqliteViews
from kappa.errors import QueryError, StorageFull, StoreUnavailable
from kappa.model.records import Changes, DeadLetter, Progress
from kappa.testing.processes import ROUNDS, commit_rounds, run_and_kill
from kappa.testing.view_laws import GROUPED, ROUTES, TYPES, USERS, ask, commit, user
from kappa.testing.views_conformance import ViewStoreConformance


class TestSqliteViews(ViewStoreConformance):
    @pytest.fixture
    def open_views(self, tmp_path: Path) -> Callable[[], SqliteViews]:
        return partial(SqliteViews, tmp_path / "views")


@pytest.fixture
def views(tmp_path: Path) -> Iterator[SqliteViews]:
    with closing(SqliteViews(tmp_path)) as views:
        views.create(USERS)
        yield views


def test_each_group_of_a_version_has_its_file(views, tmp_path):
    views.create(GROUPED)

    assert sorted(file.name for file in tmp_path.glob("grouped*.db")) == ["grouped__v1.g0.db", "grouped__v1.g1.db"]


def test_a_dropped_version_leaves_no_file(views, tmp_path):
    commit(views, USERS, user("ana", 1))
    assert views.row_count(USERS) == 1

    views.drop(USERS)

    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_format_is_refused(views, tmp_path):
    views.create(USERS)
    [file] = tmp_path.glob("users__v1.g0.db")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 1")

    for use in (views.progress, lambda table: views.writer(table, 0, epoch=1), lambda table: list(views.scan(table))):
        with pytest.raises(StoreUnavailable, match="its format is 1") as refusal:
            use(USERS)
        assert not refusal.value.retryable


def test_a_version_that_was_not_created_cannot_be_written(views, tmp_path):
    with pytest.raises(StoreUnavailable) as refusal:
        views.writer(ROUTES, 0, epoch=1)

    assert refusal.value.store == str(tmp_path / "routes__v1.g0.db")


def test_a_version_that_was_not_created_reads_as_empty(views):
    assert (views.row_count(ROUTES), views.get(ROUTES, b'["UA",3]'), views.size_bytes(ROUTES)) == (0, None, 0)
    assert (list(views.scan(ROUTES)), views.progress(ROUTES)) == ([], {0: Progress(0, 0)})


def test_a_full_disk_takes_nothing_and_work_goes_on_when_there_is_room(
    views: SqliteViews, full_disk: Callable[[sqlite3.Connection], AbstractContextManager[None]]
):
    changes = Changes([user(f"user-{n:04}", n) for n in range(5_000)], [DeadLetter(0, 1, None, b"", "no reason")])
    with views.writer(USERS, 0, epoch=1) as writer:
        with full_disk(writer._connection), pytest.raises(StorageFull, match=r"users__v1\.g0\.db"):
            writer.commit(changes, {0: Progress(5_000, 0)})

        assert (views.row_count(USERS), views.dead_letter_count(USERS)) == (0, 0)
        assert views.progress(USERS) == {0: Progress(0, 0)}

        writer.commit(changes, {0: Progress(5_000, 0)})

    assert (views.row_count(USERS), views.progress(USERS)) == (5_000, {0: Progress(5_000, 0)})


def test_an_integer_beyond_64_bits_is_our_mistake_and_takes_nothing(views):
    """The kernel makes it a dead letter, so here it is a bug; but even then no half of a commit may stay."""
    with views.writer(USERS, 0, epoch=1) as writer:
        with pytest.raises(OverflowError):
            writer.commit(Changes([user("ana", 1), user("ben", 2, orders=2**63)]), {0: Progress(3, 0)})

        writer.commit(Changes([user("eva", 3)]), {})

    assert [row.columns for row in views.scan(USERS)] == [("eva", 0)]
    assert views.progress(USERS) == {0: Progress(0, 0)}


def test_a_damaged_file_is_named(views: SqliteViews, damage: Callable[[Path], None], tmp_path: Path):
    commit(views, USERS, *(user(f"user-{n:04}", n) for n in range(5_000)))
    views.close()
    damage(tmp_path / "users__v1.g0.db")

    with pytest.raises(StoreUnavailable, match="malformed") as refusal:
        views.get(USERS, b"user-0001")

    assert refusal.value.store == str(tmp_path / "users__v1.g0.db")


def test_a_file_that_is_no_database_is_named_by_queries_too(views, tmp_path):
    file = tmp_path / "routes__v1.g0.db"
    file.write_bytes(b"This is not a database. " * 1_000)

    with pytest.raises(StoreUnavailable, match="not a database") as refusal:
        ask(views, "SELECT * FROM routes", ROUTES)

    assert refusal.value.store == str(file)


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH '{file}' AS elsewhere",
        "VACUUM INTO '{file}'",
        "VACUUM file0 INTO '{file}'",
        "PRAGMA file0.user_version = 7",
        "DELETE FROM file0.rows",
        "DETACH file0",
        "SELECT load_extension('{file}')",
    ],
)
def test_a_query_reaches_nothing_but_its_views(views, tmp_path, sql):
    file = tmp_path / "elsewhere.db"

    with pytest.raises(QueryError):
        ask(views, sql.format(file=file) + " -- users")

    assert not file.exists()


def test_a_query_says_what_it_could_have_read(views):
    with pytest.raises(QueryError) as refusal:
        ask(views, "SELECT * FROM user", USERS, ROUTES)

    assert refusal.value.message == "cannot answer the query: no such table: user"
    assert refusal.value.next_step == "write one SELECT; it can read: users, routes"


def test_a_value_too_large_for_memory_is_a_query_error(views):
    with pytest.raises(QueryError, match="too big"):
        ask(views, "SELECT zeroblob(1000000000)")


def test_a_query_attaches_only_the_views_that_it_names(views):
    many = [msgspec.structs.replace(USERS, view=f"users_{n}") for n in range(11)]
    for table in many:
        views.create(table)

    assert ask(views, "SELECT count(*) FROM Users_1 JOIN users_10", *many).rows == [(0,)]


def test_a_query_over_more_files_than_sqlite_attaches_is_refused(views):
    wide = msgspec.structs.replace(USERS, view="wide", partition_count=11, group_count=11)
    views.create(wide)

    with pytest.raises(QueryError, match="11 files"):
        ask(views, "SELECT * FROM wide", wide)


def test_a_query_for_one_key_looks_it_up_in_each_group(views):
    views.create(GROUPED)

    plan = ask(views, "EXPLAIN QUERY PLAN SELECT orders FROM grouped WHERE user_id = 'ana'", GROUPED).rows

    assert len([step for *_, step in plan if "user_id=?" in step]) == GROUPED.group_count


@pytest.mark.parametrize("table", [USERS, ROUTES, TYPES])
@pytest.mark.parametrize("statement", ["select_states", "select_wanted"])
def test_keys_are_looked_up_by_index(views, table, statement):
    views.create(table)
    sql = getattr(stored_table(table), statement)

    with views.writer(table, 0, epoch=1) as writer:
        plan = writer._connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("[]",)).fetchall()

    assert [step for *_, step in plan if "rows" in step and "autoindex" not in step] == []


def test_rows_of_a_thousand_keys_take_one_statement_for_each_group(views):
    views.create(GROUPED)
    keys = [b"user-%d" % n for n in range(1_000)]
    views.get_many(GROUPED, keys)
    statements = []
    for _, reader in views._readers.values():
        reader.set_trace_callback(statements.append)

    views.get_many(GROUPED, keys)

    assert len(statements) == GROUPED.group_count


def test_a_snapshot_is_of_one_moment(views, tmp_path):
    """The port allows less: rows that are newer than the progress."""
    views.create(ROUNDS)
    seen = []

    def seen_enough():
        for _ in range(50):
            with views.snapshot(ROUNDS, 0) as snapshot:
                rounds = {row.columns[1] for row in snapshot.rows}
                seen.append((snapshot.progress[0].next_offset, rounds, len(list(snapshot.dead_letters))))
        return len({progress for progress, *_ in seen}) > 100

    run_and_kill(partial(commit_rounds, rounds=1_000_000_000), partial(SqliteViews, tmp_path), when=seen_enough)

    assert [each for each in seen if each[0] > 0 and each != (each[0], {each[0]}, each[0])] == []


def test_a_writer_of_a_table_that_was_created_anew_leaves_it_alone(views, tmp_path):
    """Two that make one seed: the second drops what the first still writes. SQLite could delete the new file's log."""
    stale = views.writer(USERS, 0, epoch=1)
    stale.commit(Changes([user("ana", 1)]), {})
    with closing(SqliteViews(tmp_path)) as other:
        other.drop(USERS)
        other.create(USERS)
        with other.writer(USERS, 0, epoch=2) as writer:
            writer.commit(Changes([user("ben", 2)]), {})

            stale.commit(Changes([user("eva", 3)]), {})
            stale.close()

    assert [row.columns[0] for row in views.scan(USERS)] == ["ben"]


def test_an_error_of_whoever_reads_a_snapshot_is_not_the_store_s(views):
    with pytest.raises(FileNotFoundError, match="elsewhere"), views.snapshot(USERS, 0):
        Path("elsewhere").read_text()


def test_a_file_that_is_damaged_further_on_is_named_while_it_is_read(views: SqliteViews, tmp_path: Path):
    commit(views, USERS, *(user(f"user-{n:04}", n) for n in range(5_000)))
    views.close()
    file = tmp_path / "users__v1.g0.db"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + b"\xa5" * (len(content) // 2))

    with views.snapshot(USERS, 0) as snapshot:
        assert next(snapshot.rows).offset == 0
        with pytest.raises(StoreUnavailable, match="malformed") as refusal:
            list(snapshot.rows)

    assert refusal.value.store == str(file)


def test_rows_are_counted_over_indexes(views):
    with views.writer(USERS, 0, epoch=1) as writer:
        plan = writer._connection.execute(f"EXPLAIN QUERY PLAN {_ROW_COUNT}").fetchall()

    assert [step for *_, step in plan if "rows" in step and "INDEX" not in step] == []
