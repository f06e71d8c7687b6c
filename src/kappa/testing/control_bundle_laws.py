"""The laws of a control store about bundles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from datetime import UTC

import pytest

from kappa.errors import BundleNotFound, VersionInUse
from kappa.ports.control import ControlStore
from kappa.testing.control_laws import ControlLaws
from kappa.testing.deployments import CODE, USERS, deployment
from kappa.testing.processes import run_together, store_bundle


class ControlBundleLaws(ControlLaws):
    """Code is kept by its content, as long as a version may run from it."""

    @pytest.mark.parametrize("content", [b"", b"PK\5\6\0\xff", bytes(range(256)) * 20_000])
    def test_a_bundle_comes_back_under_its_hash(self, new_control: ControlStore, content: bytes) -> None:
        bundle = new_control.store_bundle(content)

        assert (bundle.id, bundle.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        assert bundle.stored_at.tzinfo is UTC
        assert new_control.bundle(bundle.id) == content

    def test_a_bundle_stored_again_is_the_one_that_is_there(self, new_control: ControlStore) -> None:
        first = new_control.store_bundle(CODE)

        assert new_control.store_bundle(CODE) == first
        assert new_control.bundles() == [first]

    def test_bundles_are_listed_oldest_first(self, new_control: ControlStore) -> None:
        stored = [new_control.store_bundle(content) for content in (b"c", b"a", b"b")]
        new_control.store_bundle(b"c")

        assert new_control.bundles() == stored

    def test_a_bundle_that_is_not_stored_is_named(self, control: ControlStore) -> None:
        with pytest.raises(BundleNotFound) as refusal:
            control.bundle("0" * 64)

        assert refusal.value.bundle == "0" * 64

    def test_a_deleted_bundle_is_gone_and_can_be_stored_anew(self, new_control: ControlStore) -> None:
        bundle = new_control.store_bundle(CODE)

        new_control.delete_bundle(bundle.id)
        new_control.delete_bundle(bundle.id)

        assert new_control.bundles() == []
        with pytest.raises(BundleNotFound):
            new_control.bundle(bundle.id)
        assert new_control.store_bundle(CODE).id == bundle.id

    def test_a_bundle_stays_until_every_version_that_runs_from_it_is_dropped(self, deployed: ControlStore) -> None:
        """All four versions share it."""
        for version in deployed.versions():
            deployed.retire(version.table.view, version.table.version)
            with pytest.raises(VersionInUse) as refusal:
                deployed.delete_bundle(version.bundle)
            deployed.dropped(version.table.view, version.table.version)

        assert (refusal.value.view, refusal.value.version) == ("users", 2)
        assert deployed.bundle(deployment(USERS).bundle) == CODE
        deployed.delete_bundle(deployment(USERS).bundle)
        assert deployed.bundles() == []

    def test_processes_that_store_the_same_bundle_share_it(
        self, open_control: Callable[[], ControlStore], new_control: ControlStore
    ) -> None:
        content = bytes(1_000_000)

        first, second = run_together(store_bundle, (open_control, content), (open_control, content))

        assert new_control.bundles() == [first] == [second]

    def test_bundles_outlive_their_users(self, open_control: Callable[[], ControlStore]) -> None:
        with closing(open_control()) as control:
            bundle = control.store_bundle(CODE)

        with closing(open_control()) as control:
            assert (control.bundles(), control.bundle(bundle.id)) == ([bundle], CODE)
