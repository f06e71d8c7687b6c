"""The events that are measured: those of examples/shop, generated once and kept in the system's temporary folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import SHOP

SKEW = 1.1
SEED = 7


def shop_file(events: int, keys: int) -> Path:
    """Return a file of that many events of that many customers, one event a line."""
    generator = SHOP / "generate.py"
    # Another generator, other events: the name says which one wrote the file.
    code = hashlib.sha256(generator.read_bytes()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / "kappa-bench"
    file = folder / f"shop-{events}-{keys}-{SKEW}-{SEED}-{code}.ndjson"
    if not file.exists():
        folder.mkdir(exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        options = {"events": events, "keys": keys, "skew": SKEW, "seed": SEED, "out": unfinished}
        command = [f"--{name}={value}" for name, value in options.items()]
        subprocess.run([sys.executable, str(generator), *command], check=True)
        unfinished.rename(file)
    return file


def shop_values(events: int, keys: int) -> list[bytes]:
    """Return the events as the yardstick wants them: in memory, one value each."""
    return shop_file(events, keys).read_bytes().splitlines()
