"""The control store: which versions exist, which one is primary, who may write, and what could not be ingested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from kappa.model.schema import ViewTable


class Version(msgspec.Struct, frozen=True):
    """A deployed version of a view.

    Attributes:
        table: Its table, which carries view name, version number, log and groups.
        fingerprint: Of the code that folds it; equal fingerprints give equal rows.
        created_at: When it was deployed, aware UTC.
        retired_at: When it was retired, or None.
    """

    table: ViewTable
    fingerprint: str
    created_at: datetime
    retired_at: datetime | None = None


class Release(msgspec.Struct, frozen=True):
    """Which version of each view is primary.

    Attributes:
        revision: Rises by one with each change; 0 before the first.
        primaries: View name -> version number.
    """

    revision: int
    primaries: Mapping[str, int]


class RejectedInput(msgspec.Struct, frozen=True):
    """A piece of input that could not become an event: the dead letter of ingestion.

    Attributes:
        source: The source's name, as in the log.
        place: Where in the source, unique within it: the byte offset or the row number.
        line: The line or row number, from 1, for people.
        value: Its first 64 KiB.
        size_bytes: Its whole size.
        reason: What was expected and what was found.
    """

    source: str
    place: int
    line: int
    value: bytes
    size_bytes: int
    reason: str


class ControlStore(Protocol):
    """Small, strongly consistent state of a project. Every method is one transaction."""

    def deploy(self, table: ViewTable, *, fingerprint: str) -> Version:
        """Record a version. `table.version` must be one more than the view's last (1 for the first).

        Deploying the same version with the same fingerprint again returns the recorded one.

        Raises:
            VersionInUse: The version number is taken by other code, or leaves a gap.
        """

    def versions(self, view: str | None = None) -> Sequence[Version]:
        """Return versions by view and number, of one view if given, retired ones too."""

    def retire(self, view: str, version: int) -> None:
        """Mark a version as retired. Idempotent.

        Raises:
            VersionInUse: The version is primary.
        """

    def release(self) -> Release:
        """Return the current release."""

    def promote(self, primaries: Mapping[str, int], *, expected_revision: int) -> Release:
        """Make these versions primary, all in one step, and return the new release. Other views keep theirs.

        All of them must be deployed and not retired.

        Raises:
            ReleaseMoved: The current revision is not `expected_revision`. Nothing changed.
        """

    def next_epoch(self, table: ViewTable, group: int) -> int:
        """Return a number greater than every one returned before for this version and group; the first is 1."""

    def reject(self, inputs: Sequence[RejectedInput]) -> None:
        """Record rejected input. An entry whose source and place are already there is replaced."""

    def rejected(
        self, *, limit: int, source: str | None = None, after: tuple[str, int] | None = None
    ) -> Sequence[RejectedInput]:
        """Return at most `limit` entries ordered by source and place, beginning behind the (source, place) `after`."""

    def rejected_count(self) -> int:
        """Return how many entries there are."""

    def accept(self, source: str, place: int) -> None:
        """Forget one rejected input, because it has been ingested after all. Idempotent."""

    def close(self) -> None:
        """Release files and connections. Idempotent."""
