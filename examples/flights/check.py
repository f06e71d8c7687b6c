"""Compare the view `carrier` with what the data itself says: the column `dep_delay`, which no event carries.

    python check.py flights.csv december.csv

Exits with 1 if any airline differs.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def delays_in_data(files: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Return carrier -> (departures, minutes of delay in all)."""
    departures: Counter[str] = Counter()
    minutes: Counter[str] = Counter()
    for file in files:
        with file.open(newline="") as rows:
            for row in csv.DictReader(rows):
                if row["dep_delay"] != "NA":
                    departures[row["carrier"]] += 1
                    minutes[row["carrier"]] += int(row["dep_delay"])
    return {carrier: (count, minutes[carrier]) for carrier, count in departures.items()}


def delays_in_view() -> dict[str, tuple[int, int]]:
    """Return the same as the view has it."""
    sql = "SELECT carrier, departures, total_departure_delay_min FROM carrier"
    command = [sys.executable, "-m", "kappa", "query", sql, "--json"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 - our own
    return {carrier: (departures, minutes) for carrier, departures, minutes in answer["rows"]}


def main(files: list[Path]) -> int:
    """Print what differs, and return the exit code."""
    wanted, found = delays_in_data(files), delays_in_view()
    wrong = sorted(carrier for carrier in wanted | found if wanted.get(carrier) != found.get(carrier))
    for carrier in wrong:
        sys.stdout.write(f"{carrier}: the data says {wanted.get(carrier)}, the view says {found.get(carrier)}\n")
    flights = sum(departures for departures, _ in wanted.values())
    sys.stdout.write(
        f"{len(wanted) - len(wrong)} of {len(wanted)} airlines agree with dep_delay on {flights:,} flights\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
