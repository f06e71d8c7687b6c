"""Notes of the savepoints that stopped jobs left, in the object store: a job's next life begins where the last ended.

A note is a hint, never a truth: without it, or if its savepoint is gone, a job starts from the committed progress of
its version. One that is too old does no harm either, since rows never go back.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kappa.errors import ObjectNotFound
from kappa.ports.objects import ObjectStore


class Note(msgspec.Struct, frozen=True):
    """What is noted about a savepoint.

    Attributes:
        job: The job's name: projects may share a store.
        location: Where the savepoint is.
    """

    job: str
    location: str


class SavepointNotes:
    """The notes, one per version's table."""

    def __init__(self, objects: ObjectStore) -> None:
        """Prepare to read and write. Every method raises `StoreUnavailable` if that cannot be done now."""
        self._objects = objects

    def find(self, table: str, *, job: str) -> str:
        """Return where a job's savepoint is; empty without one."""
        try:
            note = msgspec.json.decode(self._objects.get(_key(table)), type=Note)
        except (ObjectNotFound, msgspec.MsgspecError):
            return ""
        return note.location if note.job == job else ""

    def tables(self) -> Sequence[str]:
        """Return the tables of all versions that have a note, other projects' too."""
        return [key.split("/")[1] for key in self._objects.keys("flink/")]

    def keep(self, table: str, *, job: str, location: str) -> None:
        """Note where a job's savepoint is."""
        self._objects.put(_key(table), msgspec.json.encode(Note(job, location)))

    def forget(self, table: str) -> None:
        """Delete a note. Idempotent."""
        self._objects.delete(_key(table))


def _key(table: str) -> str:
    return f"flink/{table}/savepoint"
