"""The laws of a view store about reading much at once: many rows by key, and all that a group holds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

import msgspec
import pytest

from kappa.model.records import Changes, Progress, RowChange
from kappa.model.schema import ViewTable
from kappa.ports.views import DeadLetterEntry, StoredRow, ViewStore, ViewWriter
from kappa.testing.processes import ROUND_KEYS, ROUNDS, commit_rounds, run_and_kill
from kappa.testing.view_laws import (
    GROUPED,
    USERS,
    ViewLaws,
    commit,
    deleted,
    grouped,
    letter,
    of_group,
    user,
)

_ABSENT = msgspec.structs.replace(USERS, view="absent")


def _stored(row: RowChange) -> StoredRow:
    return StoredRow(row.columns or (), row.state or b"", row.partition, row.offset, row.step, row.due_us)


def _entry(offset: int, *, partition: int = 0) -> DeadLetterEntry:
    its = letter(offset, partition=partition)
    return DeadLetterEntry(its.partition, its.offset, its.key, its.value, its.reason, its.event_time_us)


class ViewReadingLaws(ViewLaws):
    """Rows are found by key in any number, and a group can be read whole while it is written."""

    def test_rows_of_keys_without_row_are_left_out(self, views: ViewStore) -> None:
        ana, ben = user("ana", 1, orders=3, step=2, due_us=99), user("ben", 2)
        commit(views, USERS, ana, ben)

        assert views.get_many(USERS, [b"ben", b"nobody", b"ana"]) == {b"ana": _stored(ana), b"ben": _stored(ben)}

    def test_rows_of_no_keys_are_none(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 1))

        assert views.get_many(USERS, []) == {}

    def test_a_key_asked_for_twice_has_one_row(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 1))

        assert views.get_many(USERS, [b"ana", b"ana"]) == {b"ana": _stored(user("ana", 1))}

    def test_a_deleted_row_is_not_found(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 1), user("ben", 1))
        commit(views, USERS, deleted("ana", 2))

        assert views.get_many(USERS, [b"ana", b"ben"]).keys() == {b"ben"}

    def test_rows_of_many_keys_come_in_one_call(self, views: ViewStore) -> None:
        rows = {b"user-%05d" % n: grouped(f"user-{n:05}", n) for n in range(10_000)}
        for group in range(2):
            with views.writer(GROUPED, group, epoch=1) as writer:
                writer.commit(Changes(of_group([*rows.values()], group)), {})

        found = views.get_many(GROUPED, [b"user-%05d" % n for n in reversed(range(20_000))])

        assert found == {key: _stored(row) for key, row in rows.items()}

    def test_a_version_that_was_never_created_has_no_rows(self, views: ViewStore) -> None:
        assert views.get_many(_ABSENT, [b"ana"]) == {}

    @pytest.mark.parametrize("table", [USERS, _ABSENT])
    def test_a_snapshot_of_nothing_is_empty(self, views: ViewStore, table: ViewTable) -> None:
        with views.snapshot(table, 0) as snapshot:
            assert snapshot.progress == {0: Progress(0, 0)}
            assert ([*snapshot.rows], [*snapshot.dead_letters]) == ([], [])

    def test_a_snapshot_holds_all_of_one_group(self, views: ViewStore) -> None:
        rows = [grouped(f"user-{n}", n) for n in range(20)]
        with views.writer(GROUPED, 0, epoch=1) as even, views.writer(GROUPED, 1, epoch=1) as odd:
            even.commit(Changes(of_group(rows, 0), [letter(7, partition=0)]), {0: Progress(20, 5)})
            odd.commit(
                Changes(of_group(rows, 1), [letter(9, partition=3), letter(2, partition=3), letter(4, partition=1)]),
                {3: Progress(30, 6)},
            )

        with views.snapshot(GROUPED, 1) as snapshot:
            assert snapshot.progress == {1: Progress(0, 0), 3: Progress(30, 6)}
            assert sorted(snapshot.rows, key=lambda row: row.offset) == [_stored(row) for row in of_group(rows, 1)]
            assert [*snapshot.dead_letters] == [_entry(4, partition=1), _entry(2, partition=3), _entry(9, partition=3)]

    def test_a_snapshot_leaves_out_deleted_rows(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 1), user("ben", 1))
        commit(views, USERS, deleted("ana", 2))

        with views.snapshot(USERS, 0) as snapshot:
            assert [*snapshot.rows] == [_stored(user("ben", 1))]

    def test_dead_letters_of_a_snapshot_may_be_read_before_or_after_its_rows(
        self, views: ViewStore, writer: ViewWriter
    ) -> None:
        rows = [user(f"user-{n:04}", n) for n in range(1_000)]
        letters = [letter(offset) for offset in range(1_000)]
        writer.commit(Changes(rows, letters), {0: Progress(1_000, 0)})

        with views.snapshot(USERS, 0) as before, views.snapshot(USERS, 0) as after:
            found = [(len([*before.dead_letters]), len([*before.rows]))]
            found += [(len([*after.rows]), len([*after.dead_letters]))]

        assert found == [(1_000, 1_000)] * 2

    def test_a_snapshot_need_not_be_read_to_its_end(self, views: ViewStore) -> None:
        commit(views, USERS, *(user(f"user-{n:04}", n) for n in range(1_000)))

        with views.snapshot(USERS, 0) as snapshot:
            next(snapshot.rows)

        commit(views, USERS, user("user-0000", 1_000))
        assert views.row_count(USERS) == 1_000

    def test_a_snapshot_is_never_older_than_its_progress(
        self, open_views: Callable[[], ViewStore], views: ViewStore
    ) -> None:
        """Rows may be newer, with the dead letters up to them."""
        views.create(ROUNDS)
        seen: list[tuple[int, set[int], int, list[int]]] = []

        def seen_enough() -> bool:
            with views.snapshot(ROUNDS, 0) as snapshot:
                rounds = [row.columns[1] for row in snapshot.rows]
                letters = [each.offset for each in snapshot.dead_letters]
                seen.append((snapshot.progress[0].next_offset, set(rounds), len(rounds), letters))
            return len({progress for progress, *_ in seen}) > 20

        run_and_kill(partial(commit_rounds, rounds=1_000_000_000), open_views, when=seen_enough)

        for progress, rounds, row_count, letters in seen:
            if progress > 0:
                assert row_count == len(ROUND_KEYS)
                assert min(rounds) >= progress
            assert letters == [*range(1, max([progress, *rounds]) + 1)]

    def test_what_another_process_dropped_reads_as_empty(
        self, open_views: Callable[[], ViewStore], views: ViewStore
    ) -> None:
        commit(views, USERS, user("ana", 1))
        assert views.get(USERS, b"ana") is not None

        with closing(open_views()) as other:
            other.drop(USERS)

        assert (views.get(USERS, b"ana"), views.row_count(USERS)) == (None, 0)
        assert views.progress(USERS) == {0: Progress(0, 0)}

    def test_what_another_process_created_anew_is_read_anew(
        self, open_views: Callable[[], ViewStore], views: ViewStore
    ) -> None:
        """As it happens to a seed that was interrupted and is made again."""
        commit(views, USERS, user("ana", 1))
        assert views.get(USERS, b"ana") is not None

        with closing(open_views()) as other:
            other.drop(USERS)
            commit(other, USERS, user("ben", 2))

        assert views.get_many(USERS, [b"ana", b"ben"]).keys() == {b"ben"}
