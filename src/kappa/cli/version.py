"""`kappa version`: show the versions of kappa and what it runs on."""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3

from kappa.cli.output import Output
from kappa.cli.verb import Place, free_verb

_PACKAGES = ("kappa-pipeline", "msgspec", "click", "rich", "duckdb")


@free_verb
def version(place: Place, out: Output) -> None:
    """Show the versions of kappa, Python, SQLite and the packages that kappa uses, for a report of a fault."""
    del place
    versions = {name: _version(name) for name in _PACKAGES}
    versions |= {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}

    def text() -> None:
        for name, number in versions.items():
            out.line(f"{name:14}  {number or 'not installed'}")

    out.show(versions, text)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
