"""The list of versions: their states, what they serve and hold, and what troubles them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from control.served import Served

from kappa.control.status import read_status
from kappa.control.version_list import VersionEntry, VersionList, list_versions
from kappa.errors import ProjectError, ViewNotFound
from kappa.ports import RunReport, Seed, WorkerHealth

AT = {0: 5, 1: 5}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A version in every state; the log holds 20 records."""
    served = Served(tmp_path)
    served.append(20)
    served.deploy("carrier", 1, AT)
    served.serve({"carrier": 1})
    for version, position in {2: AT, 3: AT, 4: AT, 5: {0: 9, 1: 9}, 6: {0: 5, 1: 2}, 7: None}.items():
        served.deploy("carrier", version, position)
    served.compare("carrier", 1, 2)
    served.deploy("carrier", 8, seed=Seed("migration", base=2))
    served.promote(carrier=2)
    served.shift("carrier", 5, 25)
    served.releasing().abort("carrier", 3)
    served.releasing().retire("carrier", 4)
    served.deploy("carrier", 9, AT)
    yield served
    served.close()


def listed(served: Served, view: str | None = None, *, code: Mapping[str, str] | None = None) -> VersionList:
    with ExitStack() as opened:
        return list_versions(
            view,
            control=served.control,
            views=served.store,
            logs={name: opened.enter_context(served.open_log(name)) for name in served.logs.names()},
            fingerprints=lambda: code or {},
            now=datetime.now(UTC),
        )


def by_number(served: Served) -> dict[int, VersionEntry]:
    return {entry.version: entry for entry in listed(served).versions}


def test_each_version_has_the_state_that_its_life_and_the_release_give_it(served: Served) -> None:
    assert {number: entry.state for number, entry in by_number(served).items()} == {
        1: "warm",
        2: "primary",
        3: "aborted",
        4: "retired",
        5: "canary",
        6: "replaying",
        7: "deployed",
        8: "seeding",
        9: "caught-up",
    }


def test_status_says_the_same_of_those_that_run(served: Served) -> None:
    with ExitStack() as opened:
        logs = {name: opened.enter_context(served.open_log(name)) for name in served.logs.names()}
        status = read_status(
            "p", logs=logs, views=served.store, control=served.control, now=datetime.now(UTC), running_in=None
        )

    states = {number: entry.state for number, entry in by_number(served).items() if not entry.state.stopped}
    assert {version.version: version.state for version in status.versions} == states
    assert status.lag == 10


def test_traffic_is_shared_between_primary_and_canary(served: Served) -> None:
    shares = {number: entry.traffic_percent for number, entry in by_number(served).items() if entry.traffic_percent}

    assert shares == {2: 75.0, 5: 25.0}


def test_a_version_shows_what_it_holds_and_how_far_it_is(served: Served) -> None:
    entry = by_number(served)[6]

    assert (entry.position, entry.lag, entry.rows) == ({0: 5, 1: 2}, 13, 4)
    assert entry.size_bytes > 0
    assert entry.bundle == served.control.versions()[5].bundle
    assert by_number(served)[3].lag == 0


def test_the_version_that_is_the_working_trees_code_is_marked(served: Served) -> None:
    found = listed(served, "carrier", code={"carrier": "code carrier 6"})

    assert [entry.version for entry in found.versions if entry.current_code] == [6]


def test_code_that_cannot_be_imported_is_said_and_stops_nothing(served: Served) -> None:
    def broken() -> dict[str, str]:
        raise ProjectError("module 'flights' cannot be imported")

    found = list_versions(
        None, control=served.control, views=served.store, logs={}, fingerprints=broken, now=datetime.now(UTC)
    )

    assert (len(found.versions), found.code_trouble) == (9, "module 'flights' cannot be imported")


def test_what_troubles_the_workers_is_shown_while_they_run(served: Served) -> None:
    workers = [
        WorkerHealth("carrier v6 group 0", "carrier__v6", "failed", None, 3, "KeyError: 'AA'"),
        WorkerHealth("carrier v2 group 0", "carrier__v2", "running", 7, 0, ""),
    ]
    now = datetime.now(UTC)

    served.control.report(RunReport(1, now, workers))
    assert by_number(served)[6].trouble == ("carrier v6 group 0 failed: KeyError: 'AA'",)
    assert by_number(served)[2].trouble == ()

    served.control.report(RunReport(1, now - timedelta(minutes=1), workers))
    assert by_number(served)[6].trouble == ()


def test_versions_whose_rows_are_deleted_stay_listed(served: Served) -> None:
    served.store.drop(served.control.versions()[3].table)
    served.control.dropped("carrier", 4)

    entry = by_number(served)[4]

    assert (entry.state, entry.rows, entry.dropped_at is not None) == ("retired", 0, True)


def test_an_unheard_view_is_refused_with_those_there_are(served: Served) -> None:
    with pytest.raises(ViewNotFound) as refusal:
        listed(served, "airport")

    assert refusal.value.next_step == "choose one of: carrier"
