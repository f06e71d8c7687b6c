"""The laws of a control store about the release and the history."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import ReleaseMoved, VersionInUse
from kappa.ports.control import ControlStore
from kappa.ports.release import Canary, Former, Release
from kappa.testing.control_laws import EXAMPLES, ControlLaws
from kappa.testing.deployments import CODE, MIGRATION, USERS, USERS_2, deployment, entry
from kappa.testing.processes import change_release_often, run_and_kill, run_together, switch_both_views

_VIEWS = st.sampled_from(["users", "cities"])
_VERSIONS = st.integers(1, 2)
_RELEASES = st.builds(
    Release,
    st.just(0),  # the law numbers it
    st.dictionaries(_VIEWS, _VERSIONS),
    st.dictionaries(_VIEWS, st.builds(Canary, _VERSIONS, st.floats(0, 100, exclude_min=True))),
    st.dictionaries(
        _VIEWS,
        st.builds(
            Former,
            _VERSIONS,
            st.dictionaries(st.integers(0, 1_000), st.integers(0, 2**60)),
            st.integers(1, 2**31),
        ),
    ),
)

# How a release can name version 2 of `users`.
_NAMING_USERS_2 = [
    Release(1, {"users": 2}),
    Release(1, {"users": 1}, canaries={"users": Canary(2, 10)}),
    Release(1, {"users": 1}, formers={"users": Former(2, {0: 5}, 1)}),
]

_view_numbers = count()  # each example of a property takes a view of its own


def _attempt(control: ControlStore, action: str, view: str, version: int) -> bool:
    """Say whether the store accepts an action; what is promoted keeps the former primary as its former version."""
    try:
        match action:
            case "deploy":
                control.deploy(deployment(msgspec.structs.replace(USERS, view=view, version=version)))
            case "retire":
                control.retire(view, version)
            case _:
                release = control.release()
                revision = release.revision
                formers = dict(release.formers)
                if (primary := release.primaries.get(view, version)) != version:
                    formers[view] = Former(primary, {}, revision + 1)
                changed = Release(revision + 1, {**release.primaries, view: version}, release.canaries, formers)
                control.change_release(changed, expected_revision=revision, entry=entry(f"{view} {revision}"))
    except VersionInUse:
        return False
    return True


class ControlReleaseLaws(ControlLaws):
    """Readers see one release, and it names versions that they can be shown."""

    def test_the_first_release_names_nothing(self, new_control: ControlStore) -> None:
        assert new_control.release() == Release(0, {})

    def test_a_change_makes_the_next_revision(self, deployed: ControlStore) -> None:
        release = deployed.change_release(Release(1, {"users": 1}), expected_revision=0, entry=entry("1"))

        assert release == deployed.release() == Release(1, {"users": 1})

    @EXAMPLES
    @given(release=_RELEASES)
    def test_a_release_comes_back_as_it_was(self, deployed: ControlStore, release: Release) -> None:
        revision = deployed.release().revision
        release = msgspec.structs.replace(release, revision=revision + 1)

        deployed.change_release(release, expected_revision=revision, entry=entry(f"r{revision}"))

        assert deployed.release() == release

    def test_a_change_replaces_the_whole_release(self, deployed: ControlStore) -> None:
        both = Release(1, {"users": 1, "cities": 1}, canaries={"users": Canary(2, 1)})
        deployed.change_release(both, expected_revision=0, entry=entry("1"))

        deployed.change_release(Release(2, {"users": 2}), expected_revision=1, entry=entry("2"))

        assert deployed.release() == Release(2, {"users": 2})

    def test_a_change_is_recorded_with_it(self, deployed: ControlStore) -> None:
        promoted = entry("1", view="users", version=1, detail="forced")

        deployed.change_release(Release(1, {"users": 1}), expected_revision=0, entry=promoted)

        assert deployed.history(limit=10) == [promoted]

    def test_what_it_needs_no_longer_is_retired_with_it(self, deployed: ControlStore) -> None:
        promoted, retired = entry("1", view="users", version=2), entry("2", view="users", version=1)

        deployed.change_release(Release(1, {"users": 2}), expected_revision=0, entry=promoted, retiring=[retired])

        assert [version.retired_at is not None for version in deployed.versions("users")] == [True, False]
        assert deployed.history(limit=10) == [retired, promoted]

    def test_what_it_names_is_not_retired_with_it(self, deployed: ControlStore) -> None:
        retired = entry("2", view="users", version=1)

        with pytest.raises(VersionInUse):
            deployed.change_release(Release(1, {"users": 1}), expected_revision=0, entry=entry("1"), retiring=[retired])

        assert (deployed.release(), deployed.history(limit=10)) == (Release(0, {}), [])
        assert all(version.retired_at is None for version in deployed.versions())

    @pytest.mark.parametrize("expected_revision", [0, 2])
    def test_a_change_from_another_revision_changes_nothing(
        self, deployed: ControlStore, expected_revision: int
    ) -> None:
        deployed.change_release(Release(1, {"users": 1}), expected_revision=0, entry=entry("1"))

        with pytest.raises(ReleaseMoved) as refusal:
            deployed.change_release(
                Release(expected_revision + 1, {"users": 2}), expected_revision=expected_revision, entry=entry("2")
            )

        assert (refusal.value.expected, refusal.value.found) == (expected_revision, 1)
        assert deployed.release() == Release(1, {"users": 1})
        assert deployed.history(limit=10) == [entry("1")]

    @pytest.mark.parametrize("release", _NAMING_USERS_2)
    def test_a_release_cannot_name_a_retired_version(self, deployed: ControlStore, release: Release) -> None:
        deployed.retire("users", 2)

        self._assert_refused(deployed, release)

    @pytest.mark.parametrize("release", _NAMING_USERS_2)
    def test_a_release_cannot_name_a_version_that_is_not_deployed(
        self, control: ControlStore, release: Release
    ) -> None:
        control.deploy(deployment(USERS))

        self._assert_refused(control, release)

    @pytest.mark.parametrize("release", _NAMING_USERS_2)
    def test_a_release_names_a_version_once_it_is_seeded(self, control: ControlStore, release: Release) -> None:
        control.deploy(deployment(USERS))
        control.deploy(deployment(USERS_2, seed=MIGRATION))
        self._assert_refused(control, release)

        epochs = {group: control.next_epoch(USERS_2, group) for group in range(2)}
        control.seeded(USERS_2, epochs=epochs, position={}, note="")

        assert control.change_release(release, expected_revision=0, entry=entry("1")) == control.release()

    def _assert_refused(self, control: ControlStore, release: Release) -> None:
        with pytest.raises(VersionInUse) as refusal:
            control.change_release(release, expected_revision=0, entry=entry("1"))

        assert (refusal.value.view, refusal.value.version) == ("users", 2)
        assert (control.release(), control.history(limit=10)) == (Release(0, {}), [])

    @EXAMPLES
    @given(actions=st.lists(st.tuples(st.sampled_from(["deploy", "retire", "promote"]), st.integers(1, 3))))
    def test_whatever_is_tried_no_version_that_is_named_is_retired(
        self, control: ControlStore, actions: list[tuple[str, int]]
    ) -> None:
        view = f"view-{next(_view_numbers)}"
        deployed, retired = set[int](), set[int]()  # the model
        primary, former = 0, 0
        for action, version in actions:
            if action != "deploy" and version not in deployed:
                continue  # nobody can name it
            done = _attempt(control, action, view, version)
            match action:
                case "deploy":
                    assert done == (version in deployed or version == len(deployed) + 1)
                    deployed |= {version} if done else set()
                case "retire":
                    assert done == (version in retired or version not in {primary, former})
                    retired |= {version} if done else set()
                case _:
                    assert done == (version not in retired)
                    if done and version != primary:
                        primary, former = version, primary

    def test_of_racing_changes_one_wins_each_revision(
        self, open_control: Callable[[], ControlStore], deployed: ControlStore
    ) -> None:
        change = partial(change_release_often, times=40)

        won = run_together(change, *((open_control, name) for name in ("ana", "ben", "eva")))

        revisions = [revision for its in won for revision in its]
        last = len(revisions)
        assert sorted(revisions) == list(range(1, last + 1))
        assert deployed.release().revision == last
        assert len(deployed.history(limit=1_000)) == last

    def test_readers_never_see_a_part_of_a_change(
        self, open_control: Callable[[], ControlStore], deployed: ControlStore
    ) -> None:
        seen: list[Release] = []
        unrecorded: list[Release] = []

        def seen_enough() -> bool:
            for _ in range(100):
                release = deployed.release()
                seen.append(release)
                # The entry of each change has its revision as its id.
                if any(int(last.id) < release.revision for last in deployed.history(limit=1)):
                    unrecorded.append(release)
            return len({release.revision for release in seen}) > 50

        run_and_kill(switch_both_views, open_control, when=seen_enough)

        assert [release for release in seen if len(set(release.primaries.values())) > 1] == []
        assert [release.revision for release in seen] == sorted(release.revision for release in seen)
        assert unrecorded == []
        assert len(deployed.history(limit=1_000_000)) == deployed.release().revision

    def test_history_is_kept_whole(self, control: ControlStore) -> None:
        several = entry("1", action="apply", detail="plan 7: übernommen")
        one = entry("2", view="users", version=3)
        for each in (several, one):
            control.record(each)

        assert control.history(limit=10) == [one, several]

    def test_an_id_is_recorded_once(self, control: ControlStore) -> None:
        control.record(entry("1", detail="first"))
        control.record(entry("1", detail="second"))

        assert control.history(limit=10) == [entry("1", detail="first")]

    def test_the_history_of_a_view_has_what_was_done_to_several(self, control: ControlStore) -> None:
        entries = [entry("1", view="users"), entry("2", view="cities"), entry("3"), entry("4", view="users")]
        for each in entries:
            control.record(each)

        assert [each.id for each in control.history(view="users", limit=10)] == ["4", "3", "1"]
        assert [each.id for each in control.history(view="users", limit=2)] == ["4", "3"]
        assert [each.id for each in control.history(limit=3)] == ["4", "3", "2"]

    def test_the_release_and_the_history_outlive_their_users(self, open_control: Callable[[], ControlStore]) -> None:
        release = Release(1, {"users": 1}, {"users": Canary(2, 12.5)}, {"users": Former(2, {0: 7}, 1)})
        with closing(open_control()) as control:
            control.store_bundle(CODE)
            for table in (USERS, USERS_2):
                control.deploy(deployment(table))
            control.change_release(release, expected_revision=0, entry=entry("1"))

        with closing(open_control()) as control:
            assert (control.release(), control.history(limit=10)) == (release, [entry("1")])
