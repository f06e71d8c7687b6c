"""Run benchmarks, print what they found, and keep it as JSON."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from bench.measure import Figure
from bench.settings import Settings

# In this order; each is a module with a function `run`.
NAMES = ("startup", "ingestion", "replay", "live", "memory", "catch_up", "diff")
# Only by name: they need servers.
OTHERS = ("kafka", "postgres", "pipeline")
RESULTS = Path(__file__).parent / "results"


class Report(msgspec.Struct, frozen=True):
    """What is kept of one run.

    Attributes:
        started_at: When it began.
        machine: In general terms.
        load: How many processes wanted to run in the minute before; more than none, and the figures suffer.
        settings: How much was measured.
        figures: Benchmark -> its lines.
    """

    started_at: datetime
    machine: str
    load: float
    settings: dict[str, int]
    figures: dict[str, Sequence[Figure]]


def main() -> None:
    """Read the options, run, print, write. Exits with 1 if a bound is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which to run: {', '.join((*NAMES, *OTHERS))} (default: all but the last)",
    )
    parser.add_argument("--events", type=int, default=2_000_000, help="how many events to fold (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, once: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the report (default: bench/results)")
    options = parser.parse_args()
    if unknown := set(options.names) - {*NAMES, *OTHERS}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose from {', '.join((*NAMES, *OTHERS))}")

    started_at, load = datetime.now(UTC), round(os.getloadavg()[0], 1)
    file = options.json or RESULTS / f"{started_at:%Y%m%dT%H%M%SZ}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Sequence[Figure]] = {}
    share = 10 if options.quick else 1
    with tempfile.TemporaryDirectory(prefix="kappa-bench-") as folder:
        settings = Settings(
            events=options.events // share,
            memory_keys=5_000_000 // share,
            rounds=1 if options.quick else 5,
            folder=Path(folder),
        )
        limits = {"events": settings.events, "memory_keys": settings.memory_keys, "rounds": settings.rounds}
        for name in options.names or NAMES:
            figures[name] = _run(name, settings)
            # After each, so that what a later one breaks is not lost.
            report = Report(started_at, _machine(), load, limits, figures)
            file.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(f"{_machine()}, load {load} before the start; written to {file}")
    kept = [figure.bound_kept for lines in figures.values() for figure in lines]
    sys.exit(1 if False in kept and not options.quick else 0)


def _run(name: str, settings: Settings) -> Sequence[Figure]:
    try:
        benchmark = importlib.import_module(f"bench.{name}")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error.name} is not installed\nnext:  make bench")
    figures: Sequence[Figure] = benchmark.run(settings)
    print(f"{name}: {benchmark.__doc__}")
    for line in _table(figures):
        print(f"  {line}")
    print(flush=True)
    return figures


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    rows = [("", "median (range)", "of the yardstick", "goal", "")]
    for figure in figures:
        kept = {True: "kept", False: "MISSED", None: ""}[figure.bound_kept]
        values = f"{_spread(figure.values)} {figure.unit}"
        rows.append((figure.what, values, _spread(figure.ratios), str(figure.bound or ""), kept))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, middle, high = (_number(value) for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004 - three digits tell enough


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
