"""Delete what nobody needs any more, once a grace period is over: rows, bundles and plans.

What that is, `planning.expiry` decides. Interrupted anywhere, the next run goes on: rows are deleted before it is noted
that they are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from kappa.control.history import new_entry
from kappa.errors import VersionInUse
from kappa.planning.expiry import expired
from kappa.planning.plans import read_plan
from kappa.ports import ControlStore, Version, ViewStore


class Swept(msgspec.Struct, frozen=True):
    """What the janitor deleted, or would delete.

    Attributes:
        tables: The tables whose rows are gone, by name.
        bundles: The ids of bundles.
        plans: The numbers of plans.
        freed_bytes: The space that they took, without plans.
    """

    tables: tuple[str, ...]
    bundles: tuple[str, ...]
    plans: tuple[int, ...]
    freed_bytes: int

    def __bool__(self) -> bool:
        return bool(self.tables or self.bundles or self.plans)


class Janitor:
    """Tidies a project up in the name of one person."""

    def __init__(
        self,
        *,
        control: ControlStore,
        store: ViewStore,
        forget_bundle: Callable[[str], None],
        grace: timedelta,
        actor: str,
    ) -> None:
        """Prepare to tidy up.

        Args:
            control: Says what is needed.
            store: Holds the rows.
            forget_bundle: Deletes what is unpacked of a bundle; idempotent.
            grace: How long what is not needed any more stays.
            actor: Whose name is in the history.
        """
        self._control, self._store, self._forget_bundle = control, store, forget_bundle
        self._grace, self._actor = grace, actor

    def run(self, now: datetime, *, dry_run: bool = False) -> Swept:
        """Delete what has not been needed for the grace period, or only say what that is."""
        found = expired(
            versions=self._control.versions(),
            release=self._control.release(),
            plans=[(plan, read_plan(plan.document)) for plan in self._control.plans()],
            bundles=self._control.bundles(),
            before=now - self._grace,
        )
        swept = Swept(
            tuple(version.table.name for version in found.versions),
            tuple(bundle.id for bundle in found.bundles),
            tuple(plan.number for plan in found.plans),
            sum(self._store.size_bytes(version.table) for version in found.versions)
            + sum(bundle.size_bytes for bundle in found.bundles),
        )
        if dry_run:
            return swept
        for plan in found.plans:
            self._control.delete_plan(plan.number)
        for version in found.versions:
            self._drop(version)
        for bundle in found.bundles:
            # Somebody may have deployed it again just now.
            with suppress(VersionInUse):
                self._control.delete_bundle(bundle.id)
                self._forget_bundle(bundle.id)
        return swept

    def _drop(self, version: Version) -> None:
        table = version.table
        self._store.drop(table)
        self._control.dropped(table.view, table.version)
        self._control.record(
            new_entry(
                self._actor,
                "drop",
                view=table.view,
                version=table.version,
                detail="its rows are deleted",
                entry_id=f"drop {table.view} v{table.version}",
            )
        )
