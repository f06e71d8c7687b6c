"""Write the release: each revision is one compare-and-swap together with its entry in the history.

It decides nothing. Whoever comes too late is told who changed the release meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kappa.control.history import describe_entry, new_entry
from kappa.errors import ReleaseMoved
from kappa.ports import ControlStore, HistoryEntry, Release

_ACTIONS = {"deploy", "promote", "roll-back", "shift", "abort", "retire"}
# So far back somebody looks who came too late.
_ENTRIES_MAX = 20


class Revisions:
    """Writes revisions of the release in the name of one person."""

    def __init__(self, control: ControlStore, actor: str) -> None:
        self._control, self._actor = control, actor

    def unmoved(self, release: Release, views: Collection[str]) -> Release:
        """Read the release again, after a wait; other views may have changed.

        Raises:
            ReleaseMoved: The primary of one of `views` is another now.
        """
        now = self._control.release()
        if any(now.primaries.get(view) != release.primaries.get(view) for view in views):
            raise self._moved(expected=release.revision, found=now.revision)
        return now

    def change(self, release: Release, entry: HistoryEntry, *, retiring: Sequence[HistoryEntry] = ()) -> Release:
        """Make `release`, which follows the one it was made from, the current one, and retire versions with it.

        Raises:
            ReleaseMoved: Somebody else was faster.
            VersionInUse: A version that it names was stopped meanwhile.
        """
        try:
            return self._control.change_release(
                release, expected_revision=release.revision - 1, entry=entry, retiring=retiring
            )
        except ReleaseMoved as error:
            raise self._moved(expected=error.expected, found=error.found) from error

    def end(self, action: str, view: str, version: int) -> HistoryEntry:
        """Return the entry about the end of a version.

        A version is stopped once: the id is its own, and whoever comes second notes nothing more.
        """
        return self.entry(action, {view: version}, entry_id=f"{action} {view} v{version}")

    def entry(
        self, action: str, versions: Mapping[str, int], *, detail: str = "", entry_id: str | None = None
    ) -> HistoryEntry:
        """Return an entry about one version, or about several, which its detail names."""
        if len(versions) == 1:
            ((view, version),) = versions.items()
            return new_entry(self._actor, action, view=view, version=version, detail=detail, entry_id=entry_id)
        named = ", ".join(f"{view} v{version}" for view, version in versions.items())
        return new_entry(self._actor, action, detail="; ".join(filter(None, (named, detail))), entry_id=entry_id)

    def _moved(self, *, expected: int, found: int) -> ReleaseMoved:
        for entry in self._control.history(limit=_ENTRIES_MAX):
            if entry.action in _ACTIONS:
                by = f"meanwhile {entry.actor} did: {describe_entry(entry)}"
                return ReleaseMoved(expected=expected, found=found, by=by)
        return ReleaseMoved(expected=expected, found=found)
