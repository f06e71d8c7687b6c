"""Pass over the records of a repartitioned log that were copied twice, so that each event counts once.

Pure. A copy carries its origin, and the copies from one source partition lie in a partition in the order of their
origins; a repartitioner that is killed begins again somewhere before where it was. So a copy is new if its origin is
newer than the newest from that source partition before it, and whoever reads from the log's start, or knows the newest
origins where it resumes, sees each event once and in order, however often and by however many it was copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kappa.model.records import RecordBatch

# Partition of the source -> offset there of its newest record so far.
Origins = Mapping[int, int]


def interleave(batch: RecordBatch, newest: Origins) -> tuple[RecordBatch, Origins]:
    """Return the records of a batch that are newer than `newest`, and the newest origins after it.

    `next_offset` and the greatest event time stay as they are: that of a second copy was seen with the first.

    >>> origins = [(1, 3), (0, 4), (0, 4)]
    >>> batch = RecordBatch(0, [5, 6, 7], [b"k"] * 3, [b"a", b"b", b"b"], [1, 2, 2], [9] * 3, 8, 2, origins)
    >>> batch, newest = interleave(batch, {1: 2})
    >>> batch.values, batch.offsets, batch.next_offset, newest
    ([b'a', b'b'], [5, 6], 8, {1: 3, 0: 4})
    """
    if not batch.origins:
        return batch, newest
    after = dict(newest)
    kept = []
    for at, (partition, offset) in enumerate(batch.origins):
        if offset > after.get(partition, -1):
            after[partition] = offset
            kept.append(at)
    if len(kept) == len(batch):
        return batch, after
    return (
        RecordBatch(
            batch.partition,
            [batch.offsets[at] for at in kept],
            [batch.keys[at] for at in kept],
            [batch.values[at] for at in kept],
            [batch.event_times_us[at] for at in kept],
            [batch.appended_at_us[at] for at in kept],
            batch.next_offset,
            batch.event_time_max_us,
            [batch.origins[at] for at in kept],
        ),
        after,
    )


def interleaved(batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
    """Yield batches of one partition, read from the log's start on, without second copies. Some may become empty."""
    newest: Origins = {}
    for batch in batches:
        once, newest = interleave(batch, newest)
        yield once
