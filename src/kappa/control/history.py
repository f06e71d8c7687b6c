"""What was done to a project's versions, by whom and when: makes and reads the entries. Nothing is decided by them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from kappa.errors import ViewNotFound
from kappa.ports import ControlStore, HistoryEntry


def new_entry(
    actor: str,
    action: str,
    *,
    view: str | None = None,
    version: int | None = None,
    detail: str = "",
    entry_id: str | None = None,
) -> HistoryEntry:
    """Return an entry of now. One that may be recorded twice, because its step is resumed, needs an id of its own."""
    return HistoryEntry(
        id=entry_id or uuid.uuid4().hex,
        at=datetime.now(UTC),
        actor=actor,
        action=action,
        view=view,
        version=version,
        detail=detail,
    )


def read_history(control: ControlStore, *, view: str | None, limit: int) -> Sequence[HistoryEntry]:
    """Return the last entries, newest last: those about a view and those about several, or all.

    Raises:
        ViewNotFound: No view of this name was ever deployed.
    """
    if view is not None and not control.versions(view):
        raise ViewNotFound(view=view, known=tuple(control.release().primaries))
    return control.history(view=view, limit=limit)[::-1]


def describe_entry(entry: HistoryEntry) -> str:
    """Say in a few words what was done.

    >>> entry = new_entry("ana", "shift", view="carrier", version=2, detail="10 % of the keys")
    >>> describe_entry(entry)
    'shift carrier v2: 10 % of the keys'
    """
    version = f"v{entry.version}" if entry.version is not None else ""
    what = " ".join(part for part in (entry.action, entry.view, version) if part)
    return f"{what}: {entry.detail}" if entry.detail else what
