"""The laws of the `ViewStore` and `ViewWriter` ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import Fenced
from kappa.model.records import Changes, DeadLetter, Progress, RowChange
from kappa.ports.views import DeadLetterEntry, StoredRow, ViewStore, ViewWriter
from kappa.testing.processes import ROUND_KEYS, ROUNDS, commit_rounds, run_and_kill
from kappa.testing.view_laws import (
    EXAMPLES,
    GROUPED,
    ROUTES,
    USERS,
    ask,
    commit,
    deleted,
    fresh,
    grouped,
    letter,
    of_group,
    user,
)
from kappa.testing.view_query_laws import ViewQueryLaws
from kappa.testing.view_reading_laws import ViewReadingLaws
from kappa.testing.view_values_laws import ViewValueLaws


class ViewStoreConformance(ViewValueLaws, ViewReadingLaws, ViewQueryLaws):
    """Laws of a view store. An adapter gives the fixture `open_views`: a picklable function that opens one store.

    Picklable, because some laws hold between processes: `functools.partial(SqliteViews, tmp_path)`.
    """

    def test_a_new_table_is_empty(self, views: ViewStore) -> None:
        assert views.progress(GROUPED) == dict.fromkeys(range(4), Progress(0, 0))
        assert (views.row_count(GROUPED), list(views.scan(GROUPED)), views.get(GROUPED, b"ana")) == (0, [], None)
        assert (views.dead_letter_count(GROUPED), views.dead_letters(GROUPED, limit=10)) == (0, [])

    def test_creating_a_table_again_keeps_its_rows(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 1))

        views.create(USERS)

        assert views.row_count(USERS) == 1

    def test_a_dropped_table_is_gone_with_all_it_held(self, views: ViewStore, writer: ViewWriter) -> None:
        writer.commit(Changes([user("ana", 1)], [letter(2)]), {0: Progress(3, 0)})
        writer.close()
        assert views.row_count(USERS) == 1

        views.drop(USERS)
        views.drop(USERS)

        views.create(USERS)
        assert (views.row_count(USERS), views.dead_letter_count(USERS)) == (0, 0)
        assert views.progress(USERS) == {0: Progress(0, 0)}

    def test_versions_of_a_view_are_apart_from_each_other(self, views: ViewStore) -> None:
        second = msgspec.structs.replace(USERS, version=2)

        commit(views, second, user("ana", 1))

        assert (views.row_count(USERS), views.row_count(second)) == (0, 1)

    def test_rows_take_space(self, views: ViewStore) -> None:
        commit(views, USERS, *(user(f"user-{n}", n) for n in range(1_000)))

        assert views.size_bytes(USERS) > 1_000

    def test_a_store_outlives_its_users(self, open_views: Callable[[], ViewStore], views: ViewStore) -> None:
        commit(views, USERS, user("ana", 1))
        views.close()

        with closing(open_views()) as again:
            assert again.row_count(USERS) == 1

    def test_closing_twice_is_harmless(self, views: ViewStore, writer: ViewWriter) -> None:
        for each in (writer, writer, views, views):
            each.close()

    def test_a_row_is_stored_with_its_position(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 5, orders=3, step=2, due_us=99))

        assert views.get(USERS, b"ana") == StoredRow(("ana", 3), b"5.2", 0, 5, 2, 99)

    def test_a_scan_yields_the_rows_of_all_groups(self, views: ViewStore) -> None:
        rows = [grouped(f"user-{n}", n) for n in range(20)]
        for group in range(2):
            with views.writer(GROUPED, group, epoch=1) as writer:
                writer.commit(Changes(of_group(rows, group)), {})

        assert sorted(row.columns[0] for row in views.scan(GROUPED)) == sorted(f"user-{n}" for n in range(20))
        assert views.row_count(GROUPED) == 20
        assert [views.get(GROUPED, row.key) for row in rows] == [
            StoredRow(row.columns or (), row.state or b"", row.partition, row.offset, 0, None) for row in rows
        ]

    def test_states_of_keys_without_row_are_left_out(self, writer: ViewWriter) -> None:
        writer.commit(Changes([user("ana", 1), user("ben", 2)]), {})

        assert writer.get_many([b"ana", b"nobody", b"ben"]) == {b"ana": b"1.0", b"ben": b"2.0"}

    def test_states_of_no_keys_are_none(self, writer: ViewWriter) -> None:
        assert writer.get_many([]) == {}

    def test_states_of_many_keys_come_in_one_call(self, writer: ViewWriter) -> None:
        writer.commit(Changes([user(f"user-{n:05}", n) for n in range(20_000)]), {})

        found = writer.get_many([b"user-%05d" % n for n in range(40_000)])

        assert found == {b"user-%05d" % n: b"%d.0" % n for n in range(20_000)}

    def test_a_group_without_rows_says_so(self, writer: ViewWriter) -> None:
        assert not writer.has_rows()

        writer.commit(Changes([user("ana", 1)]), {})

        assert writer.has_rows()

    @pytest.mark.parametrize(("offset", "step"), [(6, 0), (5, 3)])
    def test_a_newer_row_replaces_an_older_one(self, views: ViewStore, offset: int, step: int) -> None:
        commit(views, USERS, user("ana", 5, step=2))
        commit(views, USERS, user("ana", offset, step=step, orders=1))

        assert views.get(USERS, b"ana") == StoredRow(("ana", 1), f"{offset}.{step}".encode(), 0, offset, step, None)

    @pytest.mark.parametrize(("offset", "step"), [(4, 9), (5, 1)])
    def test_an_older_row_never_replaces_a_newer_one(self, views: ViewStore, offset: int, step: int) -> None:
        commit(views, USERS, user("ana", 5, step=2))
        commit(views, USERS, user("ana", offset, step=step, orders=1))

        assert views.get(USERS, b"ana") == StoredRow(("ana", 0), b"5.2", 0, 5, 2, None)

    def test_a_tombstone_hides_its_row_everywhere(self, views: ViewStore, writer: ViewWriter) -> None:
        writer.commit(Changes([user("ana", 1)]), {})
        writer.commit(Changes([deleted("ana", 2)]), {})

        assert (views.get(USERS, b"ana"), list(views.scan(USERS)), views.row_count(USERS)) == (None, [], 0)
        assert (writer.get_many([b"ana"]), writer.has_rows()) == ({}, False)
        assert ask(views, "SELECT * FROM users").rows == []

    def test_a_tombstone_of_a_composite_key_hides_its_row(self, views: ViewStore) -> None:
        commit(views, ROUTES, RowChange(b'["UA",3]', ("UA", 3, 1), b"s", 0, 1))
        commit(views, ROUTES, RowChange(b'["UA",3]', None, None, 0, 2))

        assert views.row_count(ROUTES) == 0

    def test_an_older_tombstone_leaves_a_newer_row(self, views: ViewStore) -> None:
        commit(views, USERS, user("ana", 5))
        commit(views, USERS, deleted("ana", 4))

        assert views.row_count(USERS) == 1

    def test_an_older_row_does_not_come_back_after_a_tombstone(self, views: ViewStore) -> None:
        commit(views, USERS, deleted("ana", 5))
        commit(views, USERS, user("ana", 4))

        assert views.row_count(USERS) == 0

    def test_a_newer_row_comes_back_after_a_tombstone(self, views: ViewStore) -> None:
        commit(views, USERS, deleted("ana", 5))
        commit(views, USERS, user("ana", 5, step=1))

        assert views.get(USERS, b"ana") == StoredRow(("ana", 0), b"5.1", 0, 5, 1, None)

    @EXAMPLES
    @given(changes=st.lists(st.tuples(st.sampled_from(["ana", "ben"]), st.integers(0, 4), st.integers(0, 2))))
    def test_the_newest_row_wins_in_whatever_order_rows_come(
        self, views: ViewStore, changes: list[tuple[str, int, int]]
    ) -> None:
        """What a row says is a function of its position, as it is for rows folded from a log."""
        fresh(views, USERS)
        newest: dict[str, tuple[int, int]] = {}
        for name, offset, step in changes:
            odd = (offset + step) % 2
            commit(views, USERS, deleted(name, offset, step=step) if odd else user(name, offset, step=step))
            newest[name] = max(newest.get(name, (0, 0)), (offset, step))

        assert {row.columns[0]: (row.offset, row.step) for row in views.scan(USERS)} == {
            name: (offset, step) for name, (offset, step) in newest.items() if (offset + step) % 2 == 0
        }

    def test_progress_is_committed_with_its_watermark(self, views: ViewStore, writer: ViewWriter) -> None:
        writer.commit(Changes(), {0: Progress(7, 1_000_000)})

        assert views.progress(USERS) == writer.progress() == {0: Progress(7, 1_000_000)}

    def test_progress_is_committed_with_the_origins_of_its_records(self, views: ViewStore, writer: ViewWriter) -> None:
        writer.commit(Changes(), {0: Progress(7, 1_000_000, {0: 12, 3: 40})})

        assert views.progress(USERS) == writer.progress() == {0: Progress(7, 1_000_000, {0: 12, 3: 40})}

    def test_partitions_that_are_not_named_keep_their_progress(self, views: ViewStore) -> None:
        with views.writer(GROUPED, 1, epoch=1) as writer:
            writer.commit(Changes(), {1: Progress(5, 50)})
            writer.commit(Changes(), {3: Progress(7, 70)})

            assert writer.progress() == {1: Progress(5, 50), 3: Progress(7, 70)}
        nothing = Progress(0, 0)
        assert views.progress(GROUPED) == {0: nothing, 1: Progress(5, 50), 2: nothing, 3: Progress(7, 70)}

    def test_a_writer_knows_the_partitions_of_its_group_only(self, views: ViewStore) -> None:
        with views.writer(GROUPED, 0, epoch=1) as writer:
            assert writer.progress() == {0: Progress(0, 0), 2: Progress(0, 0)}

    def test_a_dead_letter_is_kept_whole(self, views: ViewStore, writer: ViewWriter) -> None:
        letter = DeadLetter(0, 3, None, b"\xff\0", "expected UTF-8 - at `ä`", event_time_us=-5)

        writer.commit(Changes(dead_letters=[letter]), {})

        assert views.dead_letters(USERS, limit=10) == [
            DeadLetterEntry(0, 3, None, b"\xff\0", "expected UTF-8 - at `ä`", -5)
        ]

    def test_a_dead_letter_that_is_there_stays_as_it_is(self, views: ViewStore, writer: ViewWriter) -> None:
        writer.commit(Changes(dead_letters=[letter(3, reason="first")]), {})
        writer.commit(Changes(dead_letters=[letter(3, reason="second")]), {})

        assert [letter.reason for letter in views.dead_letters(USERS, limit=10)] == ["first"]

    @pytest.mark.parametrize(
        ("limit", "partition", "offset", "expected"),
        [
            (10, None, None, [(0, 1), (0, 9), (1, 1), (2, 4)]),
            (3, None, None, [(0, 1), (0, 9), (1, 1)]),
            (10, 0, None, [(0, 1), (0, 9)]),
            (10, None, 1, [(0, 1), (1, 1)]),
            (10, 0, 9, [(0, 9)]),
            (10, 3, None, []),
        ],
    )
    def test_dead_letters_are_listed_by_place(
        self, views: ViewStore, limit: int, partition: int | None, offset: int | None, expected: list[tuple[int, int]]
    ) -> None:
        for group, letters in {0: [(0, 9), (0, 1), (2, 4)], 1: [(1, 1)]}.items():
            with views.writer(GROUPED, group, epoch=1) as writer:
                writer.commit(Changes(dead_letters=[letter(at, partition=its) for its, at in letters]), {})

        found = views.dead_letters(GROUPED, limit=limit, partition=partition, offset=offset)
        assert [(letter.partition, letter.offset) for letter in found] == expected
        assert views.dead_letter_count(GROUPED) == 4

    def test_a_writer_is_fenced_by_a_newer_one_and_writes_nothing(self, views: ViewStore, writer: ViewWriter) -> None:
        with views.writer(USERS, 0, epoch=2), pytest.raises(Fenced) as refusal:
            writer.commit(Changes([user("ana", 1)], [letter(1)]), {0: Progress(2, 0)})

        assert (refusal.value.epoch, refusal.value.current) == (1, 2)
        assert (views.row_count(USERS), views.dead_letter_count(USERS)) == (0, 0)
        assert views.progress(USERS) == {0: Progress(0, 0)}

    def test_the_newer_writer_goes_on(self, views: ViewStore, writer: ViewWriter) -> None:
        with views.writer(USERS, 0, epoch=2) as newer:
            with pytest.raises(Fenced):
                writer.commit(Changes([user("ana", 1)]), {})
            newer.commit(Changes([user("ana", 2)]), {})

        assert views.row_count(USERS) == 1

    def test_a_stale_writer_cannot_open(self, open_views: Callable[[], ViewStore], views: ViewStore) -> None:
        views.writer(USERS, 0, epoch=2).close()

        with closing(open_views()) as others, pytest.raises(Fenced):
            others.writer(USERS, 0, epoch=1)

    def test_a_writer_may_open_again_with_its_epoch(self, views: ViewStore) -> None:
        for _ in range(2):
            with views.writer(USERS, 0, epoch=2) as writer:
                writer.commit(Changes(), {0: Progress(1, 0)})

    def test_groups_are_fenced_apart(self, views: ViewStore) -> None:
        with views.writer(GROUPED, 0, epoch=1) as writer, views.writer(GROUPED, 1, epoch=2):
            writer.commit(Changes(), {0: Progress(1, 0)})

        assert views.progress(GROUPED)[0] == Progress(1, 0)

    @pytest.mark.parametrize("round_seen", [1, 20])
    def test_a_killed_writer_leaves_whole_commits(
        self, open_views: Callable[[], ViewStore], views: ViewStore, round_seen: int
    ) -> None:
        views.create(ROUNDS)

        run_and_kill(
            partial(commit_rounds, rounds=1_000_000_000),
            open_views,
            when=lambda: views.progress(ROUNDS)[0].next_offset >= round_seen,
        )

        with closing(open_views()) as after:
            committed = after.progress(ROUNDS)[0].next_offset
            assert after.progress(ROUNDS) == {0: Progress(committed, committed)}
            assert [row.columns[1] for row in after.scan(ROUNDS)] == [committed] * len(ROUND_KEYS)
            assert after.dead_letter_count(ROUNDS) == committed

    def test_readers_never_see_a_part_of_a_commit(self, open_views: Callable[[], ViewStore], views: ViewStore) -> None:
        views.create(ROUNDS)
        scanned: list[set[int]] = []
        queried: list[Sequence[tuple[Any, ...]]] = []

        def seen_enough() -> bool:
            scanned.append({row.columns[1] for row in views.scan(ROUNDS)})
            queried.append(ask(views, "SELECT count(DISTINCT round) FROM rounds", ROUNDS).rows)
            return len(set.union(*scanned)) > 20

        run_and_kill(partial(commit_rounds, rounds=1_000_000_000), open_views, when=seen_enough)

        assert [each for each in scanned if len(each) > 1] == []
        assert [each for each in queried if each not in ([(0,)], [(1,)])] == []

    def test_a_scan_stays_with_the_state_it_began_with(self, views: ViewStore) -> None:
        names = [f"user-{n:04}" for n in range(2_000)]
        commit(views, USERS, *(user(name, 1) for name in names))
        scan = views.scan(USERS)
        first = next(scan)

        commit(views, USERS, *(user(name, 2) for name in names))
        newest = views.get(USERS, b"user-0000")

        assert newest is not None
        assert newest.offset == 2
        assert {row.offset for row in [first, *scan]} == {1}
