"""What follows from where a version's first rows came from. Pure: follows seeds from version to version."""

from __future__ import annotations

from collections.abc import Iterable

from kappa.ports.versions import Version


def counts_in_range_only(version: Version | None, versions: Iterable[Version]) -> bool:
    """Say whether a version counts its code for a range of events only, so that a replay would give other rows.

    A range replay makes such a version, and a migration hands it on: its rows are those of its base in a new shape.

    Args:
        version: The version, or None.
        versions: All that were ever deployed, stopped ones too.
    """
    if version is None or version.seed is None:
        return False
    if version.seed.kind == "range":
        return True
    place = (version.table.view, version.seed.base)
    base = next((each for each in versions if (each.table.view, each.table.version) == place), None)
    return counts_in_range_only(base, versions)
