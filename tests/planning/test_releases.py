"""Releases: which changes are refused, and what holds after any order of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import InputError, KappaError, ReleaseRefused, ViewNotFound
from kappa.planning.releases import (
    last_promoted,
    primary_of,
    promoted,
    rolled_back,
    serving,
    shifted,
    traffic_percent,
    wanted_share,
    without,
    without_view,
)
from kappa.ports import Canary, Former, Release

CUTOVER = {0: 7, 1: 3}
FIRST = Release(1, {"carrier": 1, "route": 1})
SECOND = promoted(FIRST, {"carrier": 2}, {"carrier": CUTOVER})


def test_a_promotion_keeps_the_former_primary_with_the_cutover() -> None:
    after = promoted(FIRST, {"carrier": 2}, {"carrier": CUTOVER})

    assert after == Release(2, {"carrier": 2, "route": 1}, formers={"carrier": Former(1, CUTOVER, 2)})


def test_the_first_version_of_a_view_replaces_nothing() -> None:
    assert promoted(Release(0, {}), {"carrier": 1}, {}) == Release(1, {"carrier": 1})


def test_a_promotion_ends_the_canary_of_its_view_only() -> None:
    release = shifted(shifted(FIRST, "carrier", 2, 10), "route", 2, 10)

    assert promoted(release, {"carrier": 2}, {"carrier": {}}).canaries == {"route": Canary(2, 10)}


def test_a_rollback_undoes_a_promotion() -> None:
    assert rolled_back(SECOND, ["carrier"]) == Release(3, FIRST.primaries)


def test_there_is_one_rollback_per_promotion() -> None:
    with pytest.raises(ReleaseRefused, match="carrier v1 replaced no version that is still kept") as refusal:
        rolled_back(rolled_back(SECOND, ["carrier"]), ["carrier"])

    assert refusal.value.next_step == "promote another version: kappa versions carrier"


def test_a_rollback_of_an_unheard_view_names_those_there_are() -> None:
    with pytest.raises(ViewNotFound) as refusal:
        rolled_back(FIRST, ["airport"])

    assert refusal.value.next_step == "choose one of: carrier, route"


def test_views_that_were_promoted_together_are_rolled_back_together() -> None:
    release = promoted(SECOND, {"route": 2, "airport": 1}, {"route": {}})
    assert last_promoted(release) == ("route",)

    both = promoted(FIRST, {"carrier": 2, "route": 2}, {"carrier": {}, "route": {}})
    assert rolled_back(both, last_promoted(both)).primaries == FIRST.primaries


def test_a_share_of_nothing_is_no_canary() -> None:
    release = shifted(shifted(FIRST, "carrier", 2, 10), "carrier", 2, 0)

    assert release == Release(3, FIRST.primaries)


def test_the_primary_has_no_share_beside_itself() -> None:
    with pytest.raises(ReleaseRefused, match="carrier v1 is primary"):
        shifted(FIRST, "carrier", 1, 10)


def test_one_candidate_at_a_time_has_a_share() -> None:
    with pytest.raises(ReleaseRefused, match="v2 serves 10 % of the keys already") as refusal:
        shifted(shifted(FIRST, "carrier", 2, 10), "carrier", 3, 5)

    assert refusal.value.next_step == "take that back first: kappa shift carrier v2=0"


def test_letting_go_of_a_version_takes_its_share_and_its_rollback() -> None:
    release = shifted(SECOND, "carrier", 3, 50)

    assert without(release, "carrier", 3).canaries == {}
    assert without(release, "carrier", 1).formers == {}
    assert without(release, "carrier", 4) == Release(4, release.primaries, release.canaries, release.formers)


def test_a_view_that_is_gone_is_not_served() -> None:
    release = without_view(shifted(SECOND, "carrier", 3, 50), "carrier")

    assert release == Release(4, {"route": 1})
    with pytest.raises(ViewNotFound):
        primary_of(release, "carrier")


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({2: 101}, "the share of carrier v2 must be 0, or 0.01 to 100 percent in whole hundredths: got 101"),
        ({2: 0.001}, "the share of carrier v2 must be 0, or 0.01 to 100 percent in whole hundredths: got 0.001"),
        ({2: 0.015}, "got 0.015"),
        ({2: float("nan")}, "got nan"),
        ({1: 80, 2: 10}, "the shares of carrier add up to 90 percent, not 100: v1=80 v2=10"),
        ({2: 10, 3: 10}, "expected the share of one candidate of carrier beside v1, the primary; got v2=10 v3=10"),
        ({1: 100}, "expected the share of one candidate of carrier beside v1, the primary; got v1=100"),
        ({}, "expected the share of one candidate"),
    ],
)
def test_shares_that_make_no_sense_are_refused_with_what_is_wrong(shares: Mapping[int, float], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        wanted_share("carrier", 1, shares)

    assert message in refusal.value.message
    assert "kappa shift carrier" in (refusal.value.next_step or "")


@given(st.binary(max_size=20), st.floats(min_value=0.01, max_value=100))
def test_a_key_is_served_by_the_candidate_or_the_primary(key: bytes, percent: float) -> None:
    release = shifted(FIRST, "carrier", 2, percent)

    assert serving(release, "carrier", key) in (1, 2)
    assert serving(shifted(FIRST, "carrier", 2, 100), "carrier", key) == 2
    assert serving(FIRST, "carrier", key) == 1
    assert traffic_percent(release, "carrier", 1) + traffic_percent(release, "carrier", 2) == pytest.approx(100)


VIEWS = st.sampled_from(["carrier", "route"])
VERSIONS = st.integers(1, 4)
CHANGES = st.one_of(
    st.tuples(st.just("shift"), VIEWS, VERSIONS, st.sampled_from([0.0, 1.0, 100.0])),
    st.tuples(st.just("promote"), st.dictionaries(VIEWS, VERSIONS, min_size=1)),
    st.tuples(st.just("roll back"), st.sets(VIEWS)),
    st.tuples(st.just("let go"), VIEWS, VERSIONS),
    st.tuples(st.just("drop"), VIEWS),
)


def changed(release: Release, change: tuple[object, ...]) -> Release:
    match change:
        case "shift", str(view), int(version), float(percent):
            return shifted(release, view, version, percent)
        case "promote", dict(versions):
            new = {view: version for view, version in versions.items() if release.primaries.get(view) != version}
            return promoted(release, new, dict.fromkeys(new, CUTOVER))
        case "roll back", set(views):
            return rolled_back(release, views or last_promoted(release))
        case "let go", str(view), int(version) if release.primaries.get(view) != version:
            return without(release, view, version)
        case "drop", str(view):
            return without_view(release, view)
    return Release(release.revision + 1, release.primaries, release.canaries, release.formers)


@given(st.lists(CHANGES, max_size=20))
def test_whatever_the_order_of_changes_no_canary_and_no_former_is_primary(changes: list[tuple[object, ...]]) -> None:
    release = FIRST
    for change in changes:
        try:
            after = changed(release, change)
        except KappaError as refusal:
            assert refusal.next_step  # noqa: PT017 - a refusal says how to go on, and changes nothing
            continue

        assert after.revision == release.revision + 1
        assert after.canaries.keys() | after.formers.keys() <= after.primaries.keys()
        for view, primary in after.primaries.items():
            assert view not in after.canaries or after.canaries[view].version != primary
            assert view not in after.formers or after.formers[view].version != primary
        release = after
