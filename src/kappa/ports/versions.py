"""What is deployed: the versions of views, the code they run from, and the rows they start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from kappa.model.records import Position
from kappa.model.schema import ViewTable

BUNDLE_BYTES_MAX = 64 * 1024 * 1024  # of one bundle: it is stored and handed on in one piece


class Seed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the rows come from that a version starts from, instead of from the log's start.

    Attributes:
        kind: `migration`: the base version's state in a new shape. `range`: the base version's rows, in which the
            events of a range of event time count as the new code sees them.
        base: The version of the same view whose rows they are made of.
        start_us: The range's start in event time, microseconds since 1970, UTC; included.
        end_us: Its end, not included; None for a range that is open at the end.
    """

    kind: Literal["migration", "range"]
    base: int
    start_us: int | None = None
    end_us: int | None = None


class Deployment(msgspec.Struct, frozen=True):
    """What makes a version: code, table, seed. Two equal deployments give equal rows.

    Attributes:
        table: Its table, which carries view name, version number, log and groups.
        fingerprint: Of the code that folds it; equal fingerprints give equal rows.
        parts: What the fingerprint is made of, name -> digest or text: comparing two says what has changed.
        bundle: Id of the bundle it runs from.
        seed: Where its first rows come from; None for a full replay.
        expectations: Column, or `rows` -> what a diff with the former version must show; see `planning.expectations`.
    """

    table: ViewTable
    fingerprint: str
    parts: Mapping[str, str]
    bundle: str
    seed: Seed | None = None
    expectations: Mapping[str, str] = {}


class Version(Deployment, frozen=True, kw_only=True):
    """A deployed version of a view.

    Attributes:
        created_at: When it was deployed, aware UTC.
        seeded: Whether its seed is complete, so that it can be started; True at once for a full replay.
        seed_note: What a check of the seed found, for people; empty without one.
        seed_position: Partition -> the offset from which on the version folds the log; empty for a full replay, and
            until its seed is complete.
        retired_at: When it was retired or aborted, or None. It is stopped, and its rows go after a grace period.
        aborted: Whether it was given up before it ever was primary.
        dropped_at: When its table was deleted, or None.
    """

    created_at: datetime
    seeded: bool
    seed_note: str = ""
    seed_position: Position = {}
    retired_at: datetime | None = None
    aborted: bool = False
    dropped_at: datetime | None = None


class BundleEntry(msgspec.Struct, frozen=True):
    """A stored bundle.

    Attributes:
        id: SHA-256 of its content, in hexadecimal digits.
        size_bytes: Of the content.
        stored_at: When it was stored first, aware UTC.
    """

    id: str
    size_bytes: int
    stored_at: datetime


class VersionStore(Protocol):
    """The versions of all views, and their code. Every method is one transaction."""

    def deploy(self, deployment: Deployment) -> Version:
        """Record a version. `table.version` must be one more than the view's last (1 for the first).

        Deploying the same deployment again returns the recorded version. Only its expectations may differ: the new ones
        count from then on.

        Raises:
            VersionInUse: The version number is taken by another deployment, or leaves a gap.
            BundleNotFound: Its bundle is not stored.
        """

    def versions(self, view: str | None = None) -> Sequence[Version]:
        """Return versions by view and number, of one view if given; retired and dropped ones too."""

    def seeded(self, table: ViewTable, *, epochs: Mapping[int, int], position: Position, note: str) -> None:
        """Mark a version's seed as complete. Idempotent: the first mark stays, whoever has taken over since.

        Args:
            table: The version's table.
            epochs: group -> the epoch under which its seed was written, of every group.
            position: Partition -> the offset from which on the version folds the log.
            note: What a check of the seed found; empty without one.

        Raises:
            Fenced: A newer epoch was given out for one of the groups: somebody else makes the seed. Nothing changed.
        """

    def retire(self, view: str, version: int, *, aborted: bool = False) -> None:
        """Mark a version as retired, or as aborted. Idempotent: the first mark stays.

        Raises:
            VersionInUse: The release names the version: it is primary, a canary, or what a rollback returns to.
        """

    def dropped(self, view: str, version: int) -> None:
        """Note that a retired version's table was deleted. Idempotent."""

    def next_epoch(self, table: ViewTable, group: int) -> int:
        """Return a number greater than every one returned before for this version and group; the first is 1."""

    def store_bundle(self, content: bytes) -> BundleEntry:
        """Store a bundle of at most `BUNDLE_BYTES_MAX` under the hash of its content. Idempotent."""

    def bundle(self, bundle_id: str) -> bytes:
        """Return a bundle's content as it was stored; the caller checks its hash.

        Raises:
            BundleNotFound: It is not stored.
        """

    def bundles(self) -> Sequence[BundleEntry]:
        """Return all stored bundles, oldest first."""

    def delete_bundle(self, bundle_id: str) -> None:
        """Delete a bundle. Idempotent.

        Raises:
            VersionInUse: A version that is not dropped runs from it. Nothing changed.
        """
