"""Flights that left New York in 2013: events, three views, and how a row of the data becomes events.

Clock times are numbers, as in the data: 517 is 5:17, and midnight is 2400 if it ends a day. They are of the place:
New York for departures, the destination for arrivals. Only `timestamp` is a point in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kappa import Event, View, average, count, distinct, latest, maximum, minimum, total


class FlightScheduled(Event):
    """A flight is in the timetable. The data does not say since when: its time is the scheduled departure."""

    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    distance: int  # miles
    sched_dep_time: int
    sched_arr_time: int


class FlightDeparted(Event):
    """A flight left its gate in New York."""

    carrier: str
    flight: int
    origin: str
    dest: str
    sched_dep_time: int
    dep_time: int


class FlightArrived(Event):
    """A flight reached a gate, with few exceptions (then without `air_time`) after a landing where it was going."""

    carrier: str
    flight: int
    origin: str
    dest: str
    sched_arr_time: int
    arr_time: int
    air_time: int | None  # minutes
    distance: int  # miles


class FlightDiverted(Event):
    """A flight left, and has no time of arrival. The data does not say since when: its time is the departure."""

    carrier: str
    flight: int
    origin: str
    dest: str


class FlightCancelled(Event):
    """A flight did not leave. The data does not say since when: its time is the scheduled departure."""

    carrier: str
    flight: int
    origin: str
    dest: str


def minutes(clock: Any) -> Any:
    """Return the minutes since midnight of a clock time, a number or an expression.

    >>> minutes(517), minutes(2400)
    (317, 1440)
    """
    return clock // 100 * 60 + clock % 100


# In minutes. Clocks do not show the day: of all delays that they allow, it is the one within a day from two hours early
# on, for no flight left earlier, and none 22 hours late. (A day is added first because SQL's % keeps a minus sign.)
DEPARTURE_DELAY = (
    minutes(FlightDeparted.dep_time) - minutes(FlightDeparted.sched_dep_time) + 1_440 + 120
) % 1_440 - 120


class Carrier(View, key="carrier", expect={"rows": "unchanged", "departures": "unchanged", "miles": "unchanged"}):
    """How an airline does."""

    scheduled: int = count(FlightScheduled)
    departures: int = count(FlightDeparted)
    arrivals: int = count(FlightArrived)
    cancellations: int = count(FlightCancelled)
    diversions: int = count(FlightDiverted)
    destinations: int = distinct(FlightScheduled.dest)
    planes: int = distinct(FlightScheduled.tailnum)
    average_departure_delay_min: Decimal | None = average(DEPARTURE_DELAY)
    total_departure_delay_min: int = total(DEPARTURE_DELAY)
    worst_departure_delay_min: int | None = maximum(DEPARTURE_DELAY)
    late_departures: int = count(FlightDeparted, where=DEPARTURE_DELAY > 15)
    miles: int = total(FlightArrived.distance)
    air_time_min: int = total(FlightArrived.air_time)


class Airport(View, key="origin", expect={"rows": "unchanged", "departures": "unchanged"}):
    """How one of New York's three airports does. The log's key is the carrier, so this view reads a log of its own."""

    departures: int = count(FlightDeparted)
    cancellations: int = count(FlightCancelled)
    carriers: int = distinct(FlightScheduled.carrier)
    destinations: int = distinct(FlightScheduled.dest)
    average_departure_delay_min: Decimal | None = average(DEPARTURE_DELAY)
    worst_departure_delay_min: int | None = maximum(DEPARTURE_DELAY)
    first_departure_at: datetime | None = minimum(FlightDeparted.timestamp)
    last_departure_at: datetime | None = maximum(FlightDeparted.timestamp)


class Route(View, key=("origin", "dest")):
    """How one pair of airports is served."""

    distance: int | None = latest(FlightScheduled.distance)
    flights: int = count(FlightScheduled)
    carriers: int = distinct(FlightScheduled.carrier)
    cancellations: int = count(FlightCancelled)
    shortest_air_time_min: int | None = minimum(FlightArrived.air_time)
    average_air_time_min: Decimal | None = average(FlightArrived.air_time)
    longest_air_time_min: int | None = maximum(FlightArrived.air_time)


NEW_YORK = ZoneInfo("America/New_York")

# The destinations elsewhere than in New York's time zone.
_ZONES = {
    "America/Chicago": "AUS BHM BNA DFW DSM HOU IAH MCI MDW MEM MKE MSN MSP MSY OKC OMA ORD SAT STL TUL XNA",
    "America/Denver": "ABQ BZN DEN EGE HDN JAC MTJ SLC",
    "America/Phoenix": "PHX",
    "America/Los_Angeles": "BUR LAS LAX LGB OAK PDX PSP SAN SEA SFO SJC SMF SNA",
    "America/Anchorage": "ANC",
    "America/Puerto_Rico": "BQN PSE SJU STT",
    "Pacific/Honolulu": "HNL",
}
ZONE_OF = {dest: ZoneInfo(zone) for zone, dests in _ZONES.items() for dest in dests.split()}


def first_moment(after: datetime, *, clock: int, zone: ZoneInfo) -> datetime:
    """Return the first moment later than `after` at which clocks in `zone` show `clock`, in UTC.

    >>> evening = datetime(2013, 3, 10, 3, 30, tzinfo=UTC)  # 22:30 in New York; clocks go forward that night
    >>> first_moment(evening, clock=2400, zone=NEW_YORK).isoformat()
    '2013-03-10T05:00:00+00:00'
    >>> first_moment(evening, clock=515, zone=NEW_YORK).isoformat()
    '2013-03-10T09:15:00+00:00'
    """
    local = after.astimezone(zone)
    shown = local.replace(hour=clock // 100 % 24, minute=clock % 100)
    if shown <= local:
        shown += timedelta(days=1)  # the next day by the calendar, however many hours it has
    return shown.astimezone(UTC)


def to_events(row: Mapping[str, Any]) -> Iterator[Event]:
    """Yield what a row of flights.csv says: a flight is scheduled, departs or is cancelled, arrives or is diverted."""
    sched_dep_time, sched_arr_time = int(row["sched_dep_time"]), int(row["sched_arr_time"])
    dep_time, arr_time = _number(row["dep_time"]), _number(row["arr_time"])
    day = datetime(int(row["year"]), int(row["month"]), int(row["day"]), tzinfo=NEW_YORK)
    scheduled_at = day.replace(hour=sched_dep_time // 100, minute=sched_dep_time % 100).astimezone(UTC)
    distance = int(row["distance"])
    flight = {
        "carrier": row["carrier"],
        "flight": int(row["flight"]),
        "origin": row["origin"],
        "dest": row["dest"],
    }

    yield FlightScheduled(
        **flight,
        timestamp=scheduled_at,
        tailnum=None if row["tailnum"] in _MISSING else row["tailnum"],
        distance=distance,
        sched_dep_time=sched_dep_time,
        sched_arr_time=sched_arr_time,
    )
    if dep_time is None:
        yield FlightCancelled(**flight, timestamp=scheduled_at)
        return
    # Some leave early, but none by two hours.
    departed_at = first_moment(scheduled_at - timedelta(hours=2), clock=dep_time, zone=NEW_YORK)
    yield FlightDeparted(**flight, timestamp=departed_at, sched_dep_time=sched_dep_time, dep_time=dep_time)
    if arr_time is None:
        yield FlightDiverted(**flight, timestamp=departed_at)
        return
    yield FlightArrived(
        **flight,
        timestamp=first_moment(departed_at, clock=arr_time, zone=ZONE_OF.get(row["dest"], NEW_YORK)),
        sched_arr_time=sched_arr_time,
        arr_time=arr_time,
        air_time=_number(row["air_time"]),
        distance=distance,
    )


_MISSING = ("NA", "", None)


def _number(value: Any) -> int | None:
    return None if value in _MISSING else int(value)
