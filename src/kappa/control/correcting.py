"""Correct the rows of a partition group so that a range of event time counts as new code sees it.

Which way is decided in `planning.corrections`. To adjust a row, the kernel folds the range's events of its key from
nothing, by the old code and by the new: what comes out are their contributions. Whatever speaks against that for a key
(a dead letter, a sum that does not fit, a row newer than its snapshot) has it folded again from the log's start.

In memory are the affected keys of one group: at most `AFFECTED_KEYS_MAX`, or the seed is refused.
"""

from __future__ import annotations

import decimal
from collections import defaultdict
from collections.abc import Generator
from decimal import Decimal
from typing import Any

import msgspec

from kappa.control.advance import Advance
from kappa.control.alternating import Alternating, EventRange, batch_of, chosen, read_up_to
from kappa.control.code import ViewCode
from kappa.control.event_times import check_times, seek
from kappa.control.sample_check import KeySample
from kappa.control.seed_writer import SeedWriter, dead_letter, unchanged
from kappa.errors import SeedRefused
from kappa.model.folds import FoldKind
from kappa.model.kernel import Kernel, columns_function
from kappa.model.partitioning import partition_of
from kappa.model.records import Position, RowChange
from kappa.model.schema import ViewTable, encode_key
from kappa.model.types import INT_MAX, INT_MIN
from kappa.model.values import EXACT, FRESH
from kappa.model.views import view_spec
from kappa.planning.corrections import Corrections
from kappa.ports import Log, Snapshot, StoredRow

# Two rows per key and their events: about 1 GB of small rows.
AFFECTED_KEYS_MAX = 500_000


class Correcting:
    """Corrects one group of the version `table` after the other."""

    doubt = "the versions do not agree outside the range"

    def __init__(
        self, old: ViewCode, new: ViewCode, corrections: Corrections, times: EventRange, log: Log, *, table: ViewTable
    ) -> None:
        self._old, self._new, self._corrections = old, new, corrections
        self._times, self._log, self._table = times, log, table
        self._starts = log.starts() if times.start_us is None else seek(log, times.start_us)
        self._adjusting = _Adjusting(new, corrections.adjusted)
        # Keys of the group at hand that have events in the range; None stands for records without a key.
        self._affected: set[bytes | None] = set()
        self._samples = KeySample(), KeySample()  # of affected keys, and of the others

    def write(self, snapshot: Snapshot, writer: SeedWriter) -> Generator[Advance, None, None]:
        """Write a group's rows and dead letters, corrected."""
        position = {partition: progress.next_offset for partition, progress in snapshot.progress.items()}
        old, new = _contributions(self._old), _contributions(self._new)
        self._affected = set()
        refold: set[bytes | None] = yield from self._read_range(position, old, new)
        for letter in snapshot.dead_letters:
            # Behind the position the version folds the log itself, which gives these dead letters again, or others.
            if letter.offset < position[letter.partition]:
                if letter.key in self._affected:
                    refold.add(letter.key)
                else:
                    writer.add_dead_letter(dead_letter(letter))
        for row in snapshot.rows:
            key = encode_key(row.columns[: len(self._table.key)])
            if key not in self._affected:
                self._samples[1].add(key)
            corrected = None if key in refold else self._corrected(key, row, position, old, new)
            if corrected is None:
                refold.add(key)
            else:
                writer.add(corrected)
                yield from writer.advance()
        yield from self._refold(refold, position, writer)

    def sample(self, keys_max: int) -> list[bytes]:
        """Return keys to compare with a replay: half of them affected ones, if there are enough of both."""
        affected, others = (sample.keys for sample in self._samples)
        half = keys_max // 2
        return affected[: max(half, keys_max - len(others))] + others[: max(half, keys_max - len(affected))]

    def _read_range(self, position: Position, old: Kernel, new: Kernel) -> Generator[Advance, None, set[bytes | None]]:
        """Find the affected keys and their contributions, and return those that must be folded again."""
        for partition, end in position.items():
            for batch in read_up_to(self._log, partition, end, start=self._starts[partition]):
                check_times(self._log, batch)
                records = chosen(batch, lambda _, event_time_us: event_time_us in self._times, end=end)
                self._affected.update(record.key for record in records)
                if len(self._affected) > AFFECTED_KEYS_MAX:
                    raise SeedRefused(
                        view=view_spec(self._new.view).name,
                        reason=f"the range has events of more than {AFFECTED_KEYS_MAX:,} keys in one partition group",
                    )
                if records and not self._corrections.refold:
                    old.fold(batch_of(partition, records))
                    new.fold(batch_of(partition, records))
                yield Advance(
                    min(batch.next_offset, end),
                    end,
                    note=f"looking for events in the range, {self._log.name}[{partition}]",
                )
        for key in self._affected:
            if key is not None:
                self._samples[0].add(key)
        if self._corrections.refold:
            return set(self._affected)
        return {letter.key for kernel in (old, new) for letter in kernel.take_changes().dead_letters}

    def _corrected(self, key: bytes, row: StoredRow, position: Position, old: Kernel, new: Kernel) -> RowChange | None:
        """Return a row as it should be, or None if it has to be folded again."""
        if row.offset >= position[row.partition]:
            return None
        if key not in self._affected:
            return unchanged(key, row)
        return self._adjusting.row(key, row, old.row(key), new.row(key))

    def _refold(
        self, keys: set[bytes | None], position: Position, writer: SeedWriter
    ) -> Generator[Advance, None, None]:
        by_partition: dict[int, set[bytes | None]] = defaultdict(set)
        for key in keys:
            by_partition[partition_of(key, self._table.partition_count)].add(key)
        for partition, its_keys in sorted(by_partition.items()):
            folding = Alternating(self._old, self._new, self._times)
            yield from folding.fold(self._log, partition, its_keys, end=position[partition])
            for letter in folding.dead_letters:
                writer.add_dead_letter(letter)
            for row in folding.rows.values():
                writer.add(row)
                yield from writer.advance()


def _contributions(code: ViewCode) -> Kernel:
    """Return a kernel that folds from nothing and keeps all rows: what a range contributes to each of them."""
    rows_max = 2 * AFFECTED_KEYS_MAX + 4_000  # and a batch more, until the limit is noticed
    return Kernel(code.view, events=code.events, load=lambda _: {}, rows_max=rows_max, store_empty=True)


class _Adjusting:
    """Takes contributions out of rows, and adds others."""

    def __init__(self, code: ViewCode, folds: tuple[str, ...]) -> None:
        spec = view_spec(code.view)
        self._averages = {name for name in folds if spec.folds[name].kind is FoldKind.AVERAGE}
        self._sums = [
            field
            for name in folds
            for field in ((f"_{name}_total", f"_{name}_count") if name in self._averages else (name,))
        ]
        self._nothing = code.view()
        self._decode = msgspec.msgpack.Decoder(code.view).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._columns = columns_function(code.view)

    def row(self, key: bytes, stored: StoredRow, old: Any, new: Any) -> RowChange | None:
        """Return a row less what `old` has of the range, plus what `new` has; None if a sum cannot be stored.

        Either may be None: it has folded no event of the range.
        """
        row = self._decode(stored.state)
        old, new = (self._nothing if each is None else each for each in (old, new))
        sums = {name: _corrected_sum(*(getattr(each, name) for each in (row, old, new))) for name in self._sums}
        if None in sums.values():
            return None
        for name, value in sums.items():
            setattr(row, name, value)
        with decimal.localcontext(FRESH):  # as in the kernel: a mean has 28 digits
            for name in self._averages:
                total, count = sums[f"_{name}_total"], sums[f"_{name}_count"]
                setattr(row, name, total / count if count else None)
            columns, state = self._columns(row), self._encode(row)
        return RowChange(key, columns, state, stored.partition, stored.offset, stored.step, stored.due_us)


def _corrected_sum(value: Any, old: Any, new: Any) -> Any:
    if isinstance(value, Decimal):
        try:
            return EXACT.add(EXACT.subtract(value, old), new)
        except decimal.DecimalException:
            return None
    corrected = value - old + new
    return corrected if INT_MIN <= corrected <= INT_MAX else None
