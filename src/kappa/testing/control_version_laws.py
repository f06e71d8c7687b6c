"""The laws of a control store about versions and epochs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from functools import partial

import msgspec
import pytest

from kappa.errors import BundleNotFound, Fenced, VersionInUse
from kappa.ports.control import ControlStore
from kappa.ports.release import Canary, Former, Release
from kappa.ports.versions import Deployment, Seed, Version
from kappa.testing.control_laws import ControlLaws
from kappa.testing.deployments import CITIES, CODE, MIGRATION, USERS, USERS_2, deployment, entry
from kappa.testing.processes import deploy, run_together, take_epochs


def _deploy_with_seed(control: ControlStore) -> None:
    """Deploy version 1 of `users`, and version 2 that starts from its rows."""
    control.deploy(deployment(USERS))
    control.deploy(deployment(USERS_2, seed=MIGRATION))


class ControlVersionLaws(ControlLaws):
    """A version is what was deployed, for ever; what happens to it happens once."""

    @pytest.mark.parametrize(
        "deployed",
        [
            deployment(),
            deployment(fingerprint="f2", parts={"key": "users", "code shop.euro": "a1"}, expectations={"rows": "same"}),
            deployment(seed=MIGRATION),
            deployment(seed=Seed("range", base=3, start_us=-5, end_us=2**53 + 1)),
            deployment(seed=Seed("range", base=3, start_us=0)),
        ],
    )
    def test_a_deployed_version_is_recorded_whole(self, control: ControlStore, deployed: Deployment) -> None:
        version = control.deploy(deployed)

        assert control.versions() == [version]
        assert version == Version(
            **msgspec.structs.asdict(deployed), created_at=version.created_at, seeded=deployed.seed is None
        )
        assert version.created_at.tzinfo is UTC

    def test_deploying_the_same_again_returns_what_is_recorded(self, control: ControlStore) -> None:
        control.deploy(deployment(parts={"a": "1", "b": "2"}))
        control.retire("users", 1)

        again = control.deploy(deployment(parts={"b": "2", "a": "1"}))

        assert [again] == control.versions()
        assert again.retired_at is not None

    def test_deploying_the_same_again_with_other_expectations_changes_them_alone(self, control: ControlStore) -> None:
        first = control.deploy(deployment(expectations={"orders": "unchanged"}))

        again = control.deploy(deployment(expectations={"rows": "unchanged"}))

        assert again == msgspec.structs.replace(first, expectations={"rows": "unchanged"})
        assert control.versions() == [again]

    @pytest.mark.parametrize(
        "other",
        [
            deployment(fingerprint="f2"),
            deployment(parts={"fold orders": "count(OrderPaid)"}),
            deployment(seed=MIGRATION),
            deployment(msgspec.structs.replace(USERS, group_count=1)),
        ],
    )
    def test_a_version_number_belongs_to_the_deployment_that_took_it(
        self, control: ControlStore, other: Deployment
    ) -> None:
        first = control.deploy(deployment())

        with pytest.raises(VersionInUse):
            control.deploy(other)

        assert control.versions() == [first]

    @pytest.mark.parametrize("number", [0, 2, 3])
    def test_the_first_version_is_one(self, control: ControlStore, number: int) -> None:
        with pytest.raises(VersionInUse):
            control.deploy(deployment(msgspec.structs.replace(USERS, version=number)))

        assert control.versions() == []

    def test_version_numbers_have_no_gap(self, control: ControlStore) -> None:
        control.deploy(deployment())

        with pytest.raises(VersionInUse):
            control.deploy(deployment(msgspec.structs.replace(USERS, version=3)))

        assert len(control.versions()) == 1

    def test_a_version_whose_bundle_is_not_stored_is_refused(self, new_control: ControlStore) -> None:
        with pytest.raises(BundleNotFound) as refusal:
            new_control.deploy(deployment())

        assert refusal.value.bundle == deployment().bundle
        assert new_control.versions() == []

    def test_versions_are_listed_by_view_and_number(self, control: ControlStore) -> None:
        tables = [msgspec.structs.replace(USERS, version=number) for number in range(1, 12)]
        for table in [*tables, CITIES]:
            control.deploy(deployment(table))

        assert [version.table for version in control.versions()] == [CITIES, *tables]

    def test_versions_of_one_view_can_be_asked_for(self, deployed: ControlStore) -> None:
        assert [version.table for version in deployed.versions("users")] == [USERS, USERS_2]
        assert deployed.versions("user") == []

    def test_of_racing_deployments_one_gets_the_version_number(
        self, open_control: Callable[[], ControlStore], control: ControlStore
    ) -> None:
        accepted = run_together(deploy, (open_control, "f1"), (open_control, "f2"))

        assert sorted(accepted) == [False, True]
        assert len(control.versions()) == 1

    def test_a_complete_seed_is_noted_once(self, control: ControlStore) -> None:
        _deploy_with_seed(control)
        epochs = {group: control.next_epoch(USERS_2, group) for group in range(2)}

        control.seeded(USERS_2, epochs=epochs, position={0: 7, 11: 2**53 + 1}, note="200 keys checked")
        control.seeded(USERS_2, epochs=epochs, position={0: 8}, note="again")

        second = control.versions("users")[1]
        assert (second.seeded, second.seed_note) == (True, "200 keys checked")
        assert second.seed_position == {0: 7, 11: 2**53 + 1}

    @pytest.mark.parametrize("group", [0, 1])
    def test_a_seed_that_somebody_else_makes_anew_is_not_complete(self, control: ControlStore, group: int) -> None:
        _deploy_with_seed(control)
        epochs = {each: control.next_epoch(USERS_2, each) for each in range(2)}
        control.next_epoch(USERS_2, group)

        with pytest.raises(Fenced) as refusal:
            control.seeded(USERS_2, epochs=epochs, position={}, note="")

        assert (refusal.value.group, refusal.value.epoch, refusal.value.current) == (group, 1, 2)
        assert not control.versions("users")[1].seeded

    def test_a_seed_stays_complete_when_workers_take_over(self, control: ControlStore) -> None:
        _deploy_with_seed(control)
        epochs = {each: control.next_epoch(USERS_2, each) for each in range(2)}
        control.seeded(USERS_2, epochs=epochs, position={}, note="")
        control.next_epoch(USERS_2, 0)

        control.seeded(USERS_2, epochs=epochs, position={}, note="")

        assert control.versions("users")[1].seeded

    @pytest.mark.parametrize("aborted", [False, True])
    def test_a_retired_version_stays_listed(self, deployed: ControlStore, aborted: bool) -> None:
        deployed.retire("users", 1, aborted=aborted)

        first, second = deployed.versions("users")
        assert first.retired_at is not None
        assert first.retired_at.tzinfo is UTC
        assert (first.aborted, second.retired_at, second.aborted) == (aborted, None, False)

    def test_the_first_retirement_of_a_version_stays(self, deployed: ControlStore) -> None:
        deployed.retire("users", 1)
        first = deployed.versions()

        deployed.retire("users", 1, aborted=True)

        assert deployed.versions() == first

    @pytest.mark.parametrize(
        "release",
        [
            Release(1, {"users": 2}),
            Release(1, {"users": 1}, canaries={"users": Canary(2, 10)}),
            Release(1, {"users": 1}, formers={"users": Former(2, {}, 1)}),
        ],
    )
    def test_a_version_that_the_release_names_cannot_be_retired(self, deployed: ControlStore, release: Release) -> None:
        deployed.change_release(release, expected_revision=0, entry=entry("1"))

        with pytest.raises(VersionInUse):
            deployed.retire("users", 2)

        assert deployed.versions("users")[1].retired_at is None
        deployed.retire("cities", 2)

    def test_a_dropped_version_stays_listed(self, deployed: ControlStore) -> None:
        deployed.retire("users", 1)
        deployed.dropped("users", 1)
        first = deployed.versions("users")

        deployed.dropped("users", 1)

        assert deployed.versions("users") == first
        assert [version.dropped_at is None for version in first] == [False, True]

    def test_epochs_rise_from_one(self, control: ControlStore) -> None:
        assert [control.next_epoch(USERS, 0) for _ in range(3)] == [1, 2, 3]

    def test_versions_and_groups_have_their_own_epochs(self, control: ControlStore) -> None:
        control.next_epoch(USERS, 0)

        assert [control.next_epoch(USERS, 1), control.next_epoch(USERS_2, 0), control.next_epoch(CITIES, 0)] == [1] * 3

    def test_no_epoch_is_given_twice(self, open_control: Callable[[], ControlStore], control: ControlStore) -> None:
        first, second = run_together(partial(take_epochs, times=50), (open_control,), (open_control,))

        assert (first, second) == (sorted(first), sorted(second))
        assert sorted(first + second) == list(range(1, 101))
        assert control.next_epoch(USERS, 0) == 101

    def test_versions_and_epochs_outlive_their_users(self, open_control: Callable[[], ControlStore]) -> None:
        with closing(open_control()) as control:
            control.store_bundle(CODE)
            version = control.deploy(deployment())
            control.next_epoch(USERS, 0)

        with closing(open_control()) as control:
            assert control.versions() == [version]
            assert control.next_epoch(USERS, 0) == 2
