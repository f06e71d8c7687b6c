"""The flights' views and the mapping, tested with nothing running."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from flights import (
    Carrier,
    FlightArrived,
    FlightCancelled,
    FlightDeparted,
    FlightDiverted,
    FlightScheduled,
    to_events,
)

ROW = {
    "year": "2013",
    "month": "1",
    "day": "1",
    "dep_time": "517",
    "sched_dep_time": "515",
    "arr_time": "830",
    "sched_arr_time": "819",
    "carrier": "UA",
    "flight": "1545",
    "tailnum": "N14228",
    "origin": "EWR",
    "dest": "IAH",
    "air_time": "227",
    "distance": "1400",
}


def events_of(**changes: str) -> dict[type, Any]:
    return {type(event): event for event in to_events(ROW | changes)}


def departure(sched_dep_time: int, dep_time: int) -> FlightDeparted:
    return FlightDeparted(
        carrier="UA", flight=1, origin="EWR", dest="IAH", sched_dep_time=sched_dep_time, dep_time=dep_time
    )


def test_a_flight_is_scheduled_departs_and_arrives() -> None:
    events = events_of()

    assert list(events) == [FlightScheduled, FlightDeparted, FlightArrived]
    assert events[FlightScheduled].timestamp == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)
    assert events[FlightDeparted].timestamp == datetime(2013, 1, 1, 10, 17, tzinfo=UTC)
    # Half past eight in Houston, an hour behind New York.
    assert events[FlightArrived].timestamp == datetime(2013, 1, 1, 14, 30, tzinfo=UTC)


def test_a_flight_without_a_departure_was_cancelled() -> None:
    events = events_of(dep_time="NA", arr_time="NA", air_time="NA", tailnum="NA")

    assert list(events) == [FlightScheduled, FlightCancelled]
    assert events[FlightScheduled].tailnum is None


def test_a_flight_without_an_arrival_was_diverted() -> None:
    assert list(events_of(arr_time="NA", air_time="NA")) == [FlightScheduled, FlightDeparted, FlightDiverted]


@pytest.mark.parametrize(
    ("sched_dep_time", "dep_time", "departed_at"),
    [
        ("2359", "2400", datetime(2013, 1, 2, 5, 0, tzinfo=UTC)),
        ("2359", "7", datetime(2013, 1, 2, 5, 7, tzinfo=UTC)),
        ("30", "2355", datetime(2013, 1, 1, 4, 55, tzinfo=UTC)),
        ("1900", "1641", datetime(2013, 1, 2, 21, 41, tzinfo=UTC)),
    ],
    ids=["at midnight", "after midnight", "early, the day before", "as late as it gets"],
)
def test_a_departure_has_the_right_day(sched_dep_time: str, dep_time: str, departed_at: datetime) -> None:
    events = events_of(sched_dep_time=sched_dep_time, dep_time=dep_time)

    assert events[FlightDeparted].timestamp == departed_at


def test_times_are_right_on_the_day_clocks_go_forward() -> None:
    events = events_of(month="3", day="9", sched_dep_time="2359", dep_time="53", dest="BQN", arr_time="504")

    assert events[FlightScheduled].timestamp == datetime(2013, 3, 10, 4, 59, tzinfo=UTC)
    assert events[FlightDeparted].timestamp == datetime(2013, 3, 10, 5, 53, tzinfo=UTC)
    # Puerto Rico has one time all the year.
    assert events[FlightArrived].timestamp == datetime(2013, 3, 10, 9, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sched_dep_time", "dep_time", "delay_min"),
    [(1_800, 1_815, 15), (1_759, 1_801, 2), (2_359, 7, 8), (2_359, 2_400, 1), (15, 2_345, -30), (1_900, 1_641, 1_301)],
)
def test_a_delay_is_in_minutes_not_in_clock_numbers(sched_dep_time: int, dep_time: int, delay_min: int) -> None:
    assert Carrier.fold([departure(sched_dep_time, dep_time)]).total_departure_delay_min == delay_min


def test_an_average_delay_is_exact() -> None:
    row = Carrier.fold([departure(600, 610), departure(600, 555), departure(600, 600)])

    assert row.average_departure_delay_min == Decimal(5) / Decimal(3)
    assert (row.worst_departure_delay_min, row.late_departures) == (10, 0)
