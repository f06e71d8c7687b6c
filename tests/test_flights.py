"""The whole road on real data: 336,776 flights become a log, three views and answers, as DuckDB computes them alone."""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

FLIGHTS = Path(__file__).parent.parent / "examples" / "flights"
KAPPA = Path(sys.executable).with_name("kappa")


def run(folder, *command):
    """Run a command in a project's folder and return what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The example's folder with its log and views, all flights folded."""
    folder = tmp_path_factory.mktemp("project") / "flights"
    shutil.copytree(FLIGHTS, folder, ignore=shutil.ignore_patterns(".kappa", "flights.csv", "__pycache__"))
    run(folder, sys.executable, "extract.py")
    run(folder, KAPPA, "ingest", "flights.csv", "--map", "flights:to_events")
    run(folder, KAPPA, "run", "--until-caught-up")
    return folder


@pytest.fixture(scope="module")
def expected(project):
    """DuckDB's own tables, computed from the CSV file."""
    with duckdb.connect() as connection:
        connection.execute(f"SET file_search_path = '{project}'")
        connection.execute((FLIGHTS / "expected.sql").read_text())
        yield lambda view: rows_of(*table(connection.execute(f"FROM {view}")))


def table(answer):
    return [column[0] for column in answer.description], answer.fetchall()


def rows_of(columns, rows):
    return [dict(zip(columns, row, strict=True)) for row in rows]


def found(project, view, key):
    """The committed rows of a view, as a user asks for them."""
    answer = json.loads(run(project, KAPPA, "query", f"SELECT * FROM {view} ORDER BY {key}", "--json"))
    rows = rows_of(answer["columns"], answer["rows"])
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]


def average(total, count):
    return Decimal(total) / count if count else None


def test_every_carrier_is_as_duckdb_computes_it(project, expected):
    rows = found(project, "carrier", "carrier")

    wanted = expected("carrier")
    for row in wanted:
        row["average_departure_delay_min"] = average(row["total_departure_delay_min"], row["departures"])
    for row in rows:
        row["average_departure_delay_min"] = Decimal(row["average_departure_delay_min"])
    assert rows == wanted
    assert sum(row["scheduled"] for row in rows) == 336_776
    assert sum(row["departures"] for row in rows) == 328_521


def test_every_airport_is_as_duckdb_computes_it(project, expected):
    rows = found(project, "airport", "origin")

    wanted = expected("airport")
    for row in wanted:
        row["average_departure_delay_min"] = average(row.pop("total_departure_delay_min"), row["departures"])
    for row in rows:
        row["average_departure_delay_min"] = Decimal(row["average_departure_delay_min"])
        for name in ("first_departure_at", "last_departure_at"):
            row[name] = datetime.fromisoformat(row[name]).replace(tzinfo=None)
    assert rows == wanted
    assert [row["origin"] for row in rows] == ["EWR", "JFK", "LGA"]


def test_every_route_is_as_duckdb_computes_it(project, expected):
    rows = found(project, "route", "origin, dest")

    wanted = expected("route")
    for row in wanted:
        row["average_air_time_min"] = average(row.pop("total_air_time_min"), row.pop("timed_flights"))
    for row in rows:
        if row["average_air_time_min"] is not None:
            row["average_air_time_min"] = Decimal(row["average_air_time_min"])
    assert rows == wanted
    assert len(rows) == 224


def test_the_log_holds_what_happened_to_each_flight_and_nothing_was_set_aside(project):
    status = json.loads(run(project, KAPPA, "ingest", "flights.csv", "--map", "flights:to_events", "--json"))

    report = status["report"]
    assert (report["appended"], report["already_there"], report["rejected"]) == (0, 1_002_073, 0)
