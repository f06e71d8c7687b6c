"""Shift, promote, roll back, abort, retire: what is refused and why, and that readers never notice."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from control.served import KEYS, Served, outcome, read_all_the_time

from kappa.adapters.sqlite.control import SqliteControl
from kappa.control.reading import read_query, read_row
from kappa.control.releasing import Releasing
from kappa.errors import (
    InputError,
    ReleaseMoved,
    ReleaseRefused,
    VersionNotFound,
    ViewNotFound,
)
from kappa.ports import Canary, Former, Seed

AT = {0: 5, 1: 5}
BEHIND = {0: 5, 1: 3}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.close()


@pytest.fixture
def served(empty: Served) -> Served:
    """`carrier` and `route` with a primary v1 and a candidate v2 that has caught up and was compared."""
    for view in ("carrier", "route"):
        empty.deploy(view, 1, AT)
        empty.deploy(view, 2, AT)
        empty.compare(view, 1, 2)
    empty.serve({"carrier": 1, "route": 1})
    return empty


def actions(served: Served) -> list[tuple[str, str | None, int | None]]:
    """Return what is in the history, oldest first, after the deployment."""
    return [(entry.action, entry.view, entry.version) for entry in served.control.history(limit=100)][-2::-1]


def test_a_candidate_that_passed_becomes_primary_and_the_former_stays_warm(served: Served) -> None:
    promotion = outcome(served.releasing().promote({"carrier": 2}, wait_s=0))

    assert (promotion.promoted, promotion.formers, promotion.forced) == ({"carrier": 2}, {"carrier": 1}, ())
    assert served.control.release().primaries == {"carrier": 2, "route": 1}
    assert served.control.release().formers == {"carrier": Former(1, AT, 2)}
    assert served.states("carrier") == ["running", "running"]
    assert actions(served) == [("promote", "carrier", 2)]


def test_several_views_change_in_one_revision(served: Served) -> None:
    served.promote(carrier=2, route=2)

    release = served.control.release()
    assert (release.revision, release.primaries) == (2, {"carrier": 2, "route": 2})
    (entry, _) = served.control.history(limit=10)
    assert (entry.actor, entry.action, entry.view, entry.detail) == ("ana", "promote", None, "carrier v2, route v2")


def test_what_was_kept_warm_until_a_promotion_is_retired_by_it(served: Served) -> None:
    served.promote(carrier=2)
    served.deploy("carrier", 3, AT)
    served.compare("carrier", 2, 3)

    promotion = outcome(served.releasing().promote({"carrier": 3}, wait_s=0))

    assert promotion.retired == {"carrier": 1}
    assert served.states("carrier") == ["retired", "running", "running"]
    served.releasing().retire("carrier", 1)  # a plan's own step says it again
    assert actions(served) == [("promote", "carrier", 2), ("promote", "carrier", 3), ("retire", "carrier", 1)]


def test_a_promotion_that_was_done_already_succeeds_and_changes_nothing(served: Served) -> None:
    served.promote(carrier=2)

    promotion = outcome(served.releasing().promote({"carrier": 2}, wait_s=0))

    assert (promotion.promoted, promotion.already) == ({}, {"carrier": 2})
    assert served.control.release().revision == 2


def test_a_version_that_lags_is_not_promoted(served: Served) -> None:
    served.fold("carrier", 1, {0: 9, 1: 6})

    with pytest.raises(ReleaseRefused) as refusal:
        served.promote(carrier=2)

    assert refusal.value.message == "carrier v2 has not caught up: it lacks 5 events that v1 holds"
    assert "kappa up" in (refusal.value.next_step or "")
    assert served.control.release().revision == 1


def test_a_promotion_waits_until_the_candidate_has_caught_up(served: Served) -> None:
    served.fold("carrier", 1, {0: 9, 1: 6})
    promotion = served.releasing().promote({"carrier": 2}, wait_s=60)

    advance = next(promotion)
    assert (advance.done, advance.total) == (0, 5)

    served.fold("carrier", 1, {0: 20, 1: 20})  # goes on: the goal is what it held when the promotion began
    served.fold("carrier", 2, {0: 9, 1: 6})
    assert outcome(promotion).promoted == {"carrier": 2}


def test_a_version_on_another_log_has_to_reach_the_end_of_its_own(empty: Served) -> None:
    """Their positions do not compare; what is not copied into the repartitioned log yet counts too."""
    empty.append(4)
    empty.deploy("carrier", 1, {0: 2, 1: 2})
    empty.deploy("carrier", 2, {0: 0, 1: 0}, log="events-by-code")
    empty.serve({"carrier": 1})

    promotion = outcome(empty.releasing().promote({"carrier": 2}, wait_s=0, force=True))

    logs = "one reads events in 2 partitions, the other events-by-code in 2 partitions"
    assert promotion.forced == (
        "carrier v2 has not caught up: it lacks 4 events that v1 holds",
        f"carrier v2 cannot be compared with v1: {logs}",
    )


def test_a_version_that_cannot_be_compared_is_not_promoted_unless_forced(served: Served) -> None:
    served.deploy("carrier", 3, key="name")

    with pytest.raises(ReleaseRefused, match="cannot be compared with v1: one is keyed by code") as refusal:
        served.promote(carrier=3)

    assert refusal.value.next_step == (
        "look at its rows: kappa get carrier KEY --version v3; or overrule this: kappa promote carrier v3 --force"
    )


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        ({"unverified": 3}, "has a diff with v1 that leaves 3 rows unverified"),
        (
            {"broken": ("departures: expected unchanged, 2 rows differ",)},
            "breaks what is expected of it: departures: expected unchanged, 2 rows differ",
        ),
    ],
)
def test_a_version_whose_diff_does_not_speak_for_it_is_not_promoted(
    served: Served, diff: dict[str, object], reason: str
) -> None:
    served.compare("carrier", 1, 2, **diff)

    with pytest.raises(ReleaseRefused) as refusal:
        served.promote(carrier=2)

    assert refusal.value.message == f"carrier v2 {reason}"
    assert refusal.value.next_step == (
        "compare them: kappa diff carrier v1 v2; or overrule this: kappa promote carrier v2 --force"
    )


def test_a_version_that_was_not_compared_is_not_promoted(served: Served) -> None:
    served.deploy("carrier", 3, AT)

    with pytest.raises(ReleaseRefused, match="carrier v3 was not compared with v1, the primary"):
        served.promote(carrier=3)


def test_a_diff_with_another_primary_is_stale(served: Served) -> None:
    served.deploy("carrier", 3, AT)
    served.compare("carrier", 1, 3)
    served.promote(carrier=2)

    with pytest.raises(ReleaseRefused, match="carrier v3 was compared with v1, but v2 is primary now"):
        served.promote(carrier=3)


def test_one_view_that_is_not_ready_holds_the_others_back(served: Served) -> None:
    served.compare("route", 1, 2, unverified=1)

    with pytest.raises(ReleaseRefused, match="route v2"):
        served.promote(carrier=2, route=2)

    assert served.control.release().primaries == {"carrier": 1, "route": 1}


def test_a_forced_promotion_says_in_the_history_what_it_overruled(served: Served) -> None:
    served.deploy("carrier", 3, BEHIND)

    promotion = outcome(served.releasing().promote({"carrier": 3}, wait_s=0, force=True))

    overruled = (
        "carrier v3 has not caught up: it lacks 2 events that v1 holds",
        "carrier v3 was not compared with v1, the primary",
    )
    assert promotion.forced == overruled
    assert served.control.history(limit=1)[0].detail == f"forced: {'; '.join(overruled)}"


@pytest.mark.parametrize("force", [False, True])
def test_what_does_not_exist_or_has_no_rows_is_promoted_by_no_force(served: Served, force: bool) -> None:
    served.deploy("carrier", 3, seed=Seed("migration", base=1))
    served.deploy("carrier", 4, AT)
    served.releasing().abort("carrier", 4)
    for version, reason in {3: "its seed is not complete", 4: "was aborted", 5: "does not exist"}.items():
        with pytest.raises((ReleaseRefused, VersionNotFound), match=f"carrier v{version} .*{reason}"):
            served.promote(carrier=version, force=force)
    with pytest.raises(ViewNotFound, match="no deployed view is called 'airport'"):
        served.promote(airport=1, force=force)


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told_why(served: Served) -> None:
    served.deploy("carrier", 3, BEHIND)
    served.compare("carrier", 1, 3)
    late = served.releasing("bob").promote({"carrier": 3}, wait_s=60)
    next(late)  # waits for v3

    served.promote(carrier=2)
    served.fold("carrier", 3, AT)
    with pytest.raises(ReleaseMoved) as refusal:
        outcome(late)

    assert refusal.value.message == "the release is at revision 2, not 1: meanwhile ana did: promote carrier v2"
    assert "kappa history" in (refusal.value.next_step or "")
    assert served.control.release().primaries["carrier"] == 2


class Overtaken:
    """A control store in which something happens once, right before the release is written."""

    def __init__(self, control: SqliteControl, happens: Callable[[], None]) -> None:
        self._control, self._happens = control, [happens]

    def __getattr__(self, name: str) -> Any:
        if name == "change_release" and self._happens:
            self._happens.pop()()
        return getattr(self._control, name)


def test_whoever_writes_the_release_second_has_changed_nothing(served: Served) -> None:
    """The worst moment: all checks are done."""
    served.promote(carrier=2)
    control: Any = Overtaken(served.control, lambda: served.promote(route=2))
    late = Releasing(control=control, store=served.store, open_log=served.open_log, actor="bob")

    with pytest.raises(ReleaseMoved, match="meanwhile ana did: promote route v2"):
        outcome(late.rollback(["carrier"], wait_s=0))

    assert served.control.release().primaries == {"carrier": 2, "route": 2}


def test_a_change_of_another_view_is_no_reason_to_refuse(served: Served) -> None:
    served.deploy("carrier", 3, BEHIND)
    served.compare("carrier", 1, 3)
    waiting = served.releasing().promote({"carrier": 3}, wait_s=60)
    next(waiting)

    served.promote(route=2)
    served.fold("carrier", 3, AT)

    assert outcome(waiting).promoted == {"carrier": 3}
    assert served.control.release().primaries == {"carrier": 3, "route": 2}


def test_a_rollback_makes_the_former_primary_again_and_the_other_a_candidate(served: Served) -> None:
    served.promote(carrier=2)

    rollback = outcome(served.releasing().rollback(["carrier"], wait_s=0))

    assert (rollback.restored, rollback.left, rollback.events_back) == ({"carrier": 1}, {"carrier": 2}, {})
    assert served.control.release().formers == {}
    assert served.states("carrier") == ["running", "running"]
    served.promote(carrier=2)  # its diff still speaks for it
    assert served.control.release().primaries["carrier"] == 2


def test_a_rollback_without_a_view_undoes_the_last_promotion_of_all_its_views(served: Served) -> None:
    served.promote(carrier=2, route=2)

    assert outcome(served.releasing().rollback(wait_s=0)).restored == {"carrier": 1, "route": 1}
    with pytest.raises(InputError, match="there is no promotion to roll back"):
        outcome(served.releasing().rollback(wait_s=0))


def test_there_is_nothing_to_go_back_to_before_the_first_promotion(served: Served) -> None:
    with pytest.raises(ReleaseRefused, match="there is nothing to roll back to"):
        outcome(served.releasing().rollback(["carrier"], wait_s=0))
    with pytest.raises(ViewNotFound):
        outcome(served.releasing().rollback(["airport"], wait_s=0))


def test_a_rollback_to_a_version_that_lags_the_cutover_is_refused_unless_forced(served: Served) -> None:
    served.fold("carrier", 2, {0: 9, 1: 6})
    served.promote(carrier=2)

    with pytest.raises(ReleaseRefused) as refusal:
        outcome(served.releasing().rollback(wait_s=0))
    assert refusal.value.message == ("carrier v1 lags the cutover by 4 events on partition 0, 1 events on partition 1")
    assert "--force: rows will go back in time by 5 events" in (refusal.value.next_step or "")

    assert outcome(served.releasing().rollback(force=True, wait_s=0)).events_back == {"carrier": 5}
    assert served.control.history(limit=1)[0].detail == "forced: carrier goes back by 5 events"


def test_a_rollback_to_a_version_that_stands_still_is_refused_unless_forced(served: Served) -> None:
    served.append(8)
    served.fold("carrier", 1, {0: 1, 1: 2})
    served.fold("carrier", 2, {0: 1, 1: 2})
    served.promote(carrier=2)
    served.fold("carrier", 2, {0: 4, 1: 4})  # and version 1 does not go on

    rollback = outcome(served.releasing(warm_s=3_600).rollback(wait_s=0))
    assert rollback.events_back == {"carrier": 5}  # they are on their way
    served.fold("carrier", 1, {0: 4, 1: 4})
    served.promote(carrier=2)
    served.append(2)
    served.fold("carrier", 2, {0: 5, 1: 5})
    with pytest.raises(ReleaseRefused, match="v1 lacks 2 events that readers may have seen, of which the first was"):
        outcome(served.releasing(warm_s=0).rollback(wait_s=0))

    waiting = served.releasing(warm_s=0).rollback(wait_s=60)
    next(waiting)
    served.fold("carrier", 1, {0: 5, 1: 4})
    next(waiting)
    assert outcome(served.releasing(warm_s=0).rollback(force=True, wait_s=0)).events_back == {"carrier": 1}


def test_a_rollback_waits_for_a_version_that_is_late(served: Served) -> None:
    served.fold("carrier", 2, {0: 9, 1: 6})
    served.promote(carrier=2)
    waiting = served.releasing().rollback(wait_s=60)
    next(waiting)

    served.fold("carrier", 1, {0: 9, 1: 6})

    assert outcome(waiting).restored == {"carrier": 1}


def test_a_share_of_the_keys_moves_to_a_candidate_and_back(served: Served) -> None:
    release = outcome(served.releasing().shift("carrier", {1: 90, 2: 10}, wait_s=0))
    assert release.canaries == {"carrier": Canary(2, 10)}

    served.shift("carrier", 2, 10)  # again
    assert served.control.release().revision == 2

    served.shift("carrier", 2, 100)
    assert served.control.release().primaries["carrier"] == 1
    served.shift("carrier", 2, 0)
    assert served.control.release().canaries == {}
    details = [entry.detail for entry in served.control.history(view="carrier", limit=3)]
    assert details == ["0 % of the keys", "100 % of the keys", "10 % of the keys"]


def test_a_share_is_refused_to_what_cannot_serve_it(served: Served) -> None:
    served.deploy("carrier", 3, BEHIND)
    served.deploy("carrier", 4, AT)
    served.releasing().retire("carrier", 4)
    for version, reason in {3: "has not caught up", 4: "was retired", 5: "does not exist"}.items():
        with pytest.raises((ReleaseRefused, VersionNotFound), match=f"carrier v{version} {reason}"):
            served.shift("carrier", version, 10)


def test_versions_with_different_keys_cannot_share_them(served: Served) -> None:
    served.deploy("carrier", 3, key="name")

    with pytest.raises(ReleaseRefused, match="carrier v3 is keyed by name and v1 by code: they cannot share keys"):
        served.shift("carrier", 3, 10)


def test_a_share_can_be_lowered_even_if_the_candidate_lags(served: Served) -> None:
    served.shift("carrier", 2, 50)
    served.fold("carrier", 1, {0: 9, 1: 9})

    served.shift("carrier", 2, 10)

    assert served.control.release().canaries == {"carrier": Canary(2, 10)}


def test_an_aborted_candidate_loses_its_share_and_stops(served: Served) -> None:
    served.shift("carrier", 2, 50)

    assert served.releasing().abort("carrier", 2).versions == (2,)

    assert (served.control.release().canaries, served.states("carrier")) == ({}, ["running", "aborted"])
    assert served.releasing().abort("carrier", 2).versions == ()
    assert actions(served) == [("shift", "carrier", 2), ("abort", "carrier", 2)]


def test_what_readers_or_a_rollback_need_cannot_be_stopped_by_mistake(served: Served) -> None:
    served.promote(carrier=2)
    served.shift("route", 2, 10)
    releasing = served.releasing()

    with pytest.raises(ReleaseRefused, match="carrier v2 is primary, so it cannot be aborted"):
        releasing.abort("carrier", 2)
    with pytest.raises(ReleaseRefused, match="carrier v1 is what a rollback returns to"):
        releasing.abort("carrier", 1)
    with pytest.raises(ReleaseRefused, match="carrier v2 is primary, so it cannot be retired"):
        releasing.retire("carrier", 2)
    with pytest.raises(ReleaseRefused, match="route v2 serves 10 % of the keys, so it cannot be retired"):
        releasing.retire("route", 2)


def test_retiring_the_former_primary_leaves_nothing_to_roll_back_to(served: Served) -> None:
    served.promote(carrier=2)

    assert served.releasing().retire("carrier", 1).former

    with pytest.raises(ReleaseRefused, match="there is nothing to roll back to"):
        outcome(served.releasing().rollback(["carrier"], wait_s=0))


def test_a_view_that_is_gone_from_the_code_can_be_retired_whole(served: Served) -> None:
    served.promote(carrier=2)

    with pytest.raises(InputError, match="the project's code still has the view 'carrier'"):
        served.releasing().retire_view("carrier", defined=True)
    assert served.releasing().retire_view("carrier", defined=False).versions == (1, 2)

    assert served.control.release().primaries == {"route": 1}
    assert served.states("carrier") == ["retired", "retired"]
    assert served.releasing().retire_view("carrier", defined=False).versions == ()


def test_a_key_is_read_from_the_version_that_serves_it(served: Served) -> None:
    def versions() -> set[tuple[int, bool]]:
        rows = [read_row("carrier", [key.decode()], control=served.control, views=served.store) for key in KEYS]
        assert all(row.columns["made_by"] == row.version for row in rows)
        return {(row.version, row.canary) for row in rows}

    assert versions() == {(1, False)}
    served.shift("carrier", 2, 100)
    assert versions() == {(2, True)}
    row = read_row("carrier", ["UA"], control=served.control, views=served.store, version=1)
    assert (row.version, row.canary) == (1, False)


def test_a_query_reads_primaries_whatever_share_a_candidate_has(served: Served) -> None:
    served.shift("carrier", 2, 100)

    answer = read_query(
        "SELECT DISTINCT made_by FROM carrier", control=served.control, views=served.store, rows_max=9, timeout_s=9
    )

    assert answer.rows == [(1,)]


def test_a_version_whose_rows_are_deleted_cannot_be_read(served: Served) -> None:
    served.releasing().retire("carrier", 2)
    served.control.dropped("carrier", 2)

    with pytest.raises(VersionNotFound, match="carrier v2 was retired, and its rows are deleted"):
        read_row("carrier", ["UA"], control=served.control, views=served.store, version=2)


@pytest.mark.slow
def test_readers_see_one_whole_release_during_a_thousand_promotions_and_rollbacks(served: Served) -> None:
    context = multiprocessing.get_context("spawn")
    done, results = context.Event(), context.Queue()
    reader = context.Process(target=read_all_the_time, args=(served.folder, done, results))
    reader.start()
    try:
        assert results.get(timeout=60) == "reading"
        releasing = served.releasing()
        for _ in range(500):
            outcome(releasing.promote({"carrier": 2, "route": 2}, wait_s=0))
            outcome(releasing.rollback(wait_s=0))
        done.set()
        reads, seen = results.get(timeout=60)
    finally:
        done.set()
        reader.join(60)
        reader.kill()

    assert served.control.release().revision == 1001
    assert reads > 10
    assert seen <= {(1, 1), (2, 2)}
