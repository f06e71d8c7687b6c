"""Start-up: how long `kappa --help` takes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from bench.measure import Figure, at_most
from bench.project import KAPPA
from bench.settings import Settings

STARTS = 10


def run(settings: Settings) -> Sequence[Figure]:  # noqa: ARG001 - every benchmark takes them
    """Measure it."""
    _start_s()  # the first one reads the files from the disk
    times = tuple(_start_s() for _ in range(STARTS))
    return [Figure("kappa --help", "s", times, bound=at_most(0.3))]


def _start_s() -> float:
    start = time.perf_counter()
    subprocess.run([KAPPA, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
