"""Say what has changed between two versions of a view's code. Pure: compares the parts of their fingerprints."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class ChangeKind(StrEnum):
    """What a change of a view's code calls for."""

    NEW = "new"
    UNCHANGED = "unchanged"
    METADATA_ONLY = "metadata-only"
    MIGRATE = "migrate"
    REPLAY = "replay"
    REFUSED = "refused"
    GONE = "gone"


class PartChanges(msgspec.Struct, frozen=True):
    """The parts of a fingerprint that differ, by name: `fold total_spent`, `code shop.in_euro`, `event OrderPlaced`.

    Attributes:
        added, removed, changed: Names, sorted.
        before, after: What the parts of these names were and are.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    before: Mapping[str, str] = {}
    after: Mapping[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def of(self, kind: str) -> PartChanges:
        """Return those of one kind, such as `fold`, named without it."""

        def names(parts: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name.removeprefix(f"{kind} ") for name in parts if name.startswith(f"{kind} "))

        return PartChanges(names(self.added), names(self.removed), names(self.changed))


def compare_parts(before: Mapping[str, str], after: Mapping[str, str]) -> PartChanges:
    """Return which parts of two fingerprints differ.

    >>> changes = compare_parts({"key": "a", "fold n": "count(A)"}, {"key": "a", "fold n": "count(B)", "fold m": "x"})
    >>> changes.added, changes.removed, changes.changed
    (('fold m',), (), ('fold n',))
    """
    added = tuple(sorted(after.keys() - before.keys()))
    removed = tuple(sorted(before.keys() - after.keys()))
    changed = tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name]))
    return PartChanges(
        added,
        removed,
        changed,
        {name: before[name] for name in (*removed, *changed)},
        {name: after[name] for name in (*added, *changed)},
    )
