"""Fold the bundles of one subtask: the kernel between Flink's state and the sink. Knows neither Flink nor PostgreSQL.

What was folded since the last flush is in the kernel's memory only. A flush stores it, so whoever takes a checkpoint
behind a flush of every partition has all of it; and it yields the commit that lets readers see it. After a crash both
begin again at a checkpoint, while rows stay as new as they were: an older row never overwrites a newer one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from kappa.adapters.flink.messages import FLUSH, Bundle, Commit, decode_bundle, encode_commit
from kappa.model.interleaving import interleave
from kappa.model.kernel import Kernel, Load
from kappa.model.records import Changes, DeadLetter, Progress, RecordBatch, RowChange


class States(Protocol):
    """The stored state of the partition at hand, which whoever calls the fold has chosen."""

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the state of those keys that have one."""

    def put_many(self, states: Mapping[bytes, bytes | None]) -> None:
        """Store states; None deletes one."""

    def progress(self) -> bytes | None:
        """Return what `put_progress` stored last, if anything."""

    def put_progress(self, progress: bytes) -> None:
        """Store the partition's own progress."""


class Stored(msgspec.Struct, frozen=True):
    """The view store, as far as a fold needs it.

    Attributes:
        progress: What is committed: where a partition begins that has no state yet.
        lazy: Whether rows may be there that no state knows of: from a seed, or folded by another engine or job.
        load: Returns the committed state of those keys that have a row.
        rows: Returns at least one changed row in the form that the sink copies.
        dead_letters: The same of dead letters.
        origins: The same of the newest origins in a partition's progress.
    """

    progress: Mapping[int, Progress]
    lazy: bool
    load: Load
    rows: Callable[[Sequence[RowChange]], bytes]
    dead_letters: Callable[[Sequence[DeadLetter]], bytes]
    origins: Callable[[Progress], str]


class PartitionState(msgspec.Struct, frozen=True, array_like=True):
    """What the state says of its partition: how far it is, and whether rows may be in the view store only."""

    progress: Progress
    lazy: bool


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(PartitionState).decode


class SubtaskFold:
    """Folds the partitions of one subtask, each bundle with the state of its partition at hand."""

    def __init__(self, new_kernel: Callable[[Load], Kernel], *, states: States, stored: Stored) -> None:
        """Prepare to fold.

        Args:
            new_kernel: Makes the kernel, given what loads committed state.
            states: Of the partition at hand.
            stored: The view store.
        """
        self._states, self._stored = states, stored
        self._kernel = new_kernel(self._load)
        self._partitions: dict[int, PartitionState] = {}
        # Whether rows of the partition at hand may be in the view store only.
        self._lazy = False
        self._folded = False
        # Of a round of flushes: the changes of those partitions whose turn has not come.
        self._changes: dict[int, Changes] = {}

    def take(self, message: bytes) -> bytes | None:
        """Fold a bundle, or flush its partition if it asks for that, and return the commit then.

        Every partition that was folded since the last round of flushes has to be flushed before any is folded again.

        Raises:
            StoreUnavailable: The view store does not answer.
            DefinitionError: The user's code changes how the events after its own are computed.
        """
        bundle = decode_bundle(message)
        if bundle.next_offset == FLUSH:
            return encode_commit(self._flush(bundle.partition))
        self._fold(bundle)
        return None

    def _fold(self, bundle: Bundle) -> None:
        assert not self._changes, f"partitions {sorted(self._changes)} were not flushed with the others"
        state = self._state_of(bundle.partition)
        progress = state.progress
        if bundle.next_offset <= progress.next_offset:
            return  # the source began before what the state holds
        origins, watermark_us = progress.origins, progress.watermark_us
        if bundle.offsets:
            batch = RecordBatch(
                bundle.partition,
                bundle.offsets,
                bundle.keys,
                bundle.values,
                bundle.event_times_us,
                bundle.appended_at_us,
                bundle.next_offset,
                bundle.event_time_max_us,
                bundle.origins,
            )
            once, origins = interleave(batch, origins)
            self._lazy, self._folded = state.lazy, True
            self._kernel.fold(once)
            watermark_us = max(watermark_us, bundle.event_time_max_us)
        progress = Progress(bundle.next_offset, watermark_us, origins)
        self._partitions[bundle.partition] = PartitionState(progress, state.lazy)

    def _flush(self, partition: int) -> Commit:
        state = self._state_of(partition)
        if self._folded:
            self._changes, self._folded = _by_partition(self._kernel.take_changes()), False
        changes = self._changes.pop(partition, _NO_CHANGES)
        if changes.rows:
            self._states.put_many({row.key: row.state for row in changes.rows})
        self._states.put_progress(_encode_state(state))
        progress, stored = state.progress, self._stored
        return Commit(
            partition,
            progress.next_offset,
            progress.watermark_us,
            stored.origins(progress),
            stored.rows(changes.rows) if changes.rows else b"",
            stored.dead_letters(changes.dead_letters) if changes.dead_letters else b"",
        )

    def _state_of(self, partition: int) -> PartitionState:
        if partition not in self._partitions:
            state = self._states.progress()
            if state is None:
                self._partitions[partition] = PartitionState(self._stored.progress[partition], self._stored.lazy)
            else:
                self._partitions[partition] = _decode_state(state)
        return self._partitions[partition]

    def _load(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        found = self._states.get_many(keys)
        if self._lazy and len(found) < len(keys):
            return {**self._stored.load([key for key in keys if key not in found]), **found}
        return found


_NO_CHANGES = Changes()


def _by_partition(changes: Changes) -> dict[int, Changes]:
    rows: dict[int, list[RowChange]] = defaultdict(list)
    dead_letters: dict[int, list[DeadLetter]] = defaultdict(list)
    for row in changes.rows:
        rows[row.partition].append(row)
    for letter in changes.dead_letters:
        dead_letters[letter.partition].append(letter)
    return {partition: Changes(rows[partition], dead_letters[partition]) for partition in {*rows, *dead_letters}}
