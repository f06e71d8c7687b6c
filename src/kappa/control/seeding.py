"""Make the rows that a version starts from of another version's rows: in a new shape, or corrected in a range of time.

The base goes on serving and folding meanwhile. Interrupted anywhere and called again, it ends with the same rows; two
at a time fence each other, and the version starts only when one of them is complete.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import assert_never

from kappa.control.advance import Advance
from kappa.control.alternating import EventRange
from kappa.control.code import LoadCode, ViewCode
from kappa.control.correcting import Correcting
from kappa.control.migrating import Migrating
from kappa.control.sample_check import SAMPLE_KEYS_MAX, check_sample
from kappa.control.seed_writer import SeedWriter
from kappa.errors import SeedRefused
from kappa.model.records import Progress
from kappa.planning.changes import compare_parts
from kappa.planning.corrections import corrections_between, reason_against_base
from kappa.planning.migration import Migration, migration_between
from kappa.planning.seeds import counts_in_range_only
from kappa.ports import ControlStore, Log, Seed, Version, ViewStore


def make_seed(
    version: Version, base: Version, *, store: ViewStore, control: ControlStore, log: Log, load_code: LoadCode
) -> Generator[Advance, None, str]:
    """Write a version's seed, mark it as complete, and return what a check of a sample of its keys found.

    Args:
        version: A deployed version with a seed. If it is complete, nothing happens.
        base: The version whose rows it is made of.
        store: Where the rows of both are.
        control: Where epochs come from, and completion is noted.
        log: The log that both read.
        load_code: Gives the code of both.

    Raises:
        SeedRefused: The rows cannot be brought into the new shape, or corrected.
        Fenced: Somebody else makes the same seed.
        HistoryLost: The log has lost what a correction needs, after it began.
    """
    recorded = next(each for each in control.versions(version.table.view) if each.table == version.table)
    if recorded.seeded:
        return recorded.seed_note
    assert version.seed is not None, version
    if base.dropped_at is not None:
        raise SeedRefused(view=base.table.view, reason=f"the rows of v{base.table.version} are deleted")
    old, new = load_code(base), load_code(version)
    making = _making(version, base, version.seed, old, new, store=store, log=log)
    store.create(version.table)
    epochs = {group: control.next_epoch(version.table, group) for group in range(version.table.group_count)}
    progress: dict[int, Progress] = {}
    with SeedWriter(store, version.table, epochs=epochs, rows_expected=store.row_count(base.table)) as writer:
        for group in range(base.table.group_count):
            with store.snapshot(base.table, group) as snapshot:
                progress |= snapshot.progress
                yield from making.write(snapshot, writer)
        if isinstance(making, Migrating):
            _migration(version, base, old, new, dead_letters=making.dead_letter_count)
        writer.finish(progress)
    position = {partition: each.next_offset for partition, each in progress.items()}
    doubt = making.doubt
    if counts_in_range_only(base, control.versions(base.table.view)):
        doubt = f"v{base.table.version} counts its code for a range of events only, and so does its seed"
    note = yield from check_sample(
        making.sample(SAMPLE_KEYS_MAX), new, version.table, position, store=store, log=log, doubt=doubt
    )
    control.seeded(version.table, epochs=epochs, position=position, note=note)
    return note


def _making(
    version: Version, base: Version, seed: Seed, old: ViewCode, new: ViewCode, *, store: ViewStore, log: Log
) -> Migrating | Correcting:
    """Return what makes the rows, or refuse before anything is written."""
    match seed.kind:
        case "migration":
            dead_letters = store.dead_letter_count(base.table)
            return Migrating(old.view, new.view, _migration(version, base, old, new, dead_letters=dead_letters))
        case "range":
            changes = compare_parts(base.parts, version.parts)
            corrections = reason_against_base(base) or corrections_between(old.view, new.view, changes)
            if isinstance(corrections, str):
                raise SeedRefused(view=base.table.view, reason=corrections)
            lost = [
                f"offsets 0 to {start - 1:,} of {log.name}[{each}]" for each, start in log.starts().items() if start
            ]
            if lost:
                reason = f"the log no longer holds {', '.join(lost)}, where events of the range may have been"
                raise SeedRefused(view=base.table.view, reason=reason, next_step="go on with the version as it is")
            return Correcting(old, new, corrections, EventRange.of(seed), log, table=base.table)
        case _:
            assert_never(seed.kind)


def _migration(version: Version, base: Version, old: ViewCode, new: ViewCode, *, dead_letters: int) -> Migration:
    migration = migration_between(
        old.view,
        new.view,
        changes=compare_parts(base.parts, version.parts),
        primary=base.table.version,
        dead_letters=dead_letters,
    )
    if isinstance(migration, str):
        raise SeedRefused(view=base.table.view, reason=migration)
    return migration
