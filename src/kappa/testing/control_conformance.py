"""The laws of the `ControlStore` port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC
from functools import partial

import msgspec
import pytest

from kappa.errors import ReleaseMoved, VersionInUse
from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.ports.control import ControlStore, RejectedInput, Release
from kappa.testing.conformance import Conformance
from kappa.testing.processes import ROUNDS, deploy, promote_often, run_together, take_epochs

USERS = ViewTable(
    view="users",
    version=1,
    key=(Column("user_id", ColumnType.TEXT),),
    columns=(Column("orders", ColumnType.INTEGER), Column("email", ColumnType.TEXT, nullable=True)),
    log="events",
    partition_count=4,
    group_count=2,
)
USERS_2 = msgspec.structs.replace(USERS, version=2)
CITIES = msgspec.structs.replace(USERS, view="cities", log="events-by-city")


def _rejected(source: str, place: int, *, reason: str = "expected an object") -> RejectedInput:
    return RejectedInput(source, place, place + 1, b"\xff\0", 70_000, reason)


class ControlStoreConformance(Conformance):
    """Laws of a control store. An adapter gives the fixture `open_control`: a picklable function that opens one store.

    Picklable, because some laws hold between processes: `functools.partial(SqliteControl, tmp_path / "control.db")`.
    """

    @pytest.fixture
    def control(self, open_control: Callable[[], ControlStore]) -> Iterator[ControlStore]:
        with closing(open_control()) as control:
            yield control

    @pytest.fixture
    def two_versions(self, control: ControlStore) -> ControlStore:
        """A store in which `users` has versions 1 and 2, and `cities` version 1."""
        for table in (USERS, USERS_2, CITIES):
            control.deploy(table, fingerprint=table.name)
        return control

    def test_a_new_store_is_empty(self, control: ControlStore) -> None:
        assert (control.versions(), control.release(), control.rejected_count()) == ([], Release(0, {}), 0)

    def test_closing_twice_is_harmless(self, control: ControlStore) -> None:
        control.close()
        control.close()

    def test_a_deployed_version_is_recorded_whole(self, control: ControlStore) -> None:
        version = control.deploy(USERS, fingerprint="f1")

        assert (version.table, version.fingerprint, version.retired_at) == (USERS, "f1", None)
        assert version.created_at.tzinfo is UTC
        assert control.versions() == [version]

    def test_deploying_the_same_again_returns_what_is_recorded(self, control: ControlStore) -> None:
        first = control.deploy(USERS, fingerprint="f1")

        assert control.deploy(USERS, fingerprint="f1") == first
        assert control.versions() == [first]

    def test_a_version_number_belongs_to_the_code_that_took_it(self, control: ControlStore) -> None:
        control.deploy(USERS, fingerprint="f1")

        with pytest.raises(VersionInUse):
            control.deploy(USERS, fingerprint="f2")

        assert [version.fingerprint for version in control.versions()] == ["f1"]

    @pytest.mark.parametrize("number", [0, 2, 3])
    def test_the_first_version_is_one(self, control: ControlStore, number: int) -> None:
        with pytest.raises(VersionInUse):
            control.deploy(msgspec.structs.replace(USERS, version=number), fingerprint="f1")

        assert control.versions() == []

    def test_version_numbers_have_no_gap(self, control: ControlStore) -> None:
        control.deploy(USERS, fingerprint="f1")

        with pytest.raises(VersionInUse):
            control.deploy(msgspec.structs.replace(USERS, version=3), fingerprint="f3")

        assert len(control.versions()) == 1

    def test_versions_are_listed_by_view_and_number(self, control: ControlStore) -> None:
        tables = [msgspec.structs.replace(USERS, version=number) for number in range(1, 12)]
        for table in [*tables, CITIES]:
            control.deploy(table, fingerprint=table.name)

        assert [version.table for version in control.versions()] == [CITIES, *tables]

    def test_versions_of_one_view_can_be_asked_for(self, two_versions: ControlStore) -> None:
        assert [version.table for version in two_versions.versions("users")] == [USERS, USERS_2]

    def test_a_retired_version_stays_listed(self, two_versions: ControlStore) -> None:
        two_versions.retire("users", 1)

        assert [version.retired_at is None for version in two_versions.versions("users")] == [False, True]

    def test_retiring_again_keeps_the_time(self, two_versions: ControlStore) -> None:
        two_versions.retire("users", 1)
        first = two_versions.versions()

        two_versions.retire("users", 1)

        assert two_versions.versions() == first

    def test_a_primary_version_cannot_be_retired(self, two_versions: ControlStore) -> None:
        two_versions.promote({"users": 1}, expected_revision=0)

        with pytest.raises(VersionInUse):
            two_versions.retire("users", 1)

        assert two_versions.versions("users")[0].retired_at is None

    def test_of_two_processes_one_gets_the_version_number(
        self, open_control: Callable[[], ControlStore], control: ControlStore
    ) -> None:
        accepted = run_together(deploy, (open_control, "f1"), (open_control, "f2"))

        assert sorted(accepted) == [False, True]
        assert len(control.versions()) == 1

    def test_a_promotion_makes_the_next_revision(self, two_versions: ControlStore) -> None:
        release = two_versions.promote({"users": 1}, expected_revision=0)

        assert release == two_versions.release() == Release(1, {"users": 1})

    def test_a_promotion_leaves_other_views_as_they_are(self, two_versions: ControlStore) -> None:
        two_versions.promote({"users": 1, "cities": 1}, expected_revision=0)

        assert two_versions.promote({"users": 2}, expected_revision=1) == Release(2, {"users": 2, "cities": 1})

    @pytest.mark.parametrize("expected_revision", [0, 2])
    def test_a_promotion_from_another_revision_is_refused(
        self, two_versions: ControlStore, expected_revision: int
    ) -> None:
        two_versions.promote({"users": 1}, expected_revision=0)

        with pytest.raises(ReleaseMoved) as refusal:
            two_versions.promote({"users": 2}, expected_revision=expected_revision)

        assert (refusal.value.expected, refusal.value.found) == (expected_revision, 1)
        assert two_versions.release() == Release(1, {"users": 1})

    def test_of_racing_promotions_one_wins_each_revision(
        self, open_control: Callable[[], ControlStore], two_versions: ControlStore
    ) -> None:
        promote = partial(promote_often, times=50)

        accepted = run_together(promote, (open_control, "users"), (open_control, "cities"))

        assert two_versions.release() == Release(sum(accepted), {"users": 1, "cities": 1})

    def test_epochs_rise_from_one(self, control: ControlStore) -> None:
        assert [control.next_epoch(USERS, 0) for _ in range(3)] == [1, 2, 3]

    def test_versions_and_groups_have_their_own_epochs(self, control: ControlStore) -> None:
        control.next_epoch(USERS, 0)

        assert [control.next_epoch(USERS, 1), control.next_epoch(USERS_2, 0), control.next_epoch(CITIES, 0)] == [1] * 3

    def test_no_epoch_is_given_twice(self, open_control: Callable[[], ControlStore], control: ControlStore) -> None:
        first, second = run_together(partial(take_epochs, times=50), (open_control,), (open_control,))

        assert (first, second) == (sorted(first), sorted(second))
        assert sorted(first + second) == list(range(1, 101))
        assert control.next_epoch(ROUNDS, 0) == 101

    def test_rejected_input_is_kept_whole(self, control: ControlStore) -> None:
        entry = RejectedInput("orders.ndjson", 2**40, 7, b"\xff\0{", 20_000_000, "expected UTF-8 - at `ä`")

        control.reject([entry])

        assert (control.rejected(limit=10), control.rejected_count()) == ([entry], 1)

    def test_rejected_input_is_listed_by_source_and_place(self, control: ControlStore) -> None:
        entries = [_rejected("a", 2), _rejected("a", 10), _rejected("b", 1)]
        control.reject([entries[2], entries[1]])
        control.reject([entries[0]])

        assert control.rejected(limit=10) == entries
        assert control.rejected(limit=2) == entries[:2]
        assert control.rejected(limit=10, source="b") == entries[2:]

    def test_rejected_input_is_listed_from_behind_a_place(self, control: ControlStore) -> None:
        entries = [_rejected("a", 2), _rejected("a", 10), _rejected("b", 1)]
        control.reject(entries)

        assert control.rejected(limit=10, after=("a", 2)) == entries[1:]
        assert control.rejected(limit=10, source="a", after=("a", 1)) == entries[:2]
        assert control.rejected(limit=10, after=("b", 1)) == []

    def test_input_rejected_again_replaces_what_was_there(self, control: ControlStore) -> None:
        control.reject([_rejected("a", 2, reason="first")])
        control.reject([_rejected("a", 2, reason="second")])

        assert control.rejected(limit=10) == [_rejected("a", 2, reason="second")]

    def test_accepted_input_is_forgotten(self, control: ControlStore) -> None:
        control.reject([_rejected("a", 1), _rejected("a", 2), _rejected("b", 1)])

        control.accept("a", 1)
        control.accept("a", 1)

        assert control.rejected(limit=10) == [_rejected("a", 2), _rejected("b", 1)]

    def test_a_store_outlives_its_users(self, open_control: Callable[[], ControlStore]) -> None:
        with closing(open_control()) as control:
            version = control.deploy(USERS, fingerprint="f1")
            control.promote({"users": 1}, expected_revision=0)
            control.next_epoch(USERS, 0)
            control.reject([_rejected("a", 1)])

        with closing(open_control()) as control:
            assert control.versions() == [version]
            assert control.release() == Release(1, {"users": 1})
            assert control.next_epoch(USERS, 0) == 2
            assert control.rejected_count() == 1
