"""However often, by however many and in whatever pieces events were copied: each counts once, in the source's order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from kappa.model.interleaving import interleave, interleaved
from kappa.model.records import RecordBatch


def batch_of(start: int, origins: Sequence[tuple[int, int]]) -> RecordBatch:
    count = len(origins)
    values = [b"%d-%d" % origin for origin in origins]
    offsets = range(start, start + count)
    return RecordBatch(0, offsets, [b"k"] * count, values, [7] * count, [9] * count, start + count, 7, origins)


@st.composite
def copied_by_several(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Draw what lies in a partition after some repartitioners copied the same events into it.

    Each starts at or before what one before it has finished, is killed anywhere, and may go on writing while others
    do. What it writes has no gaps, and is in order.
    """
    events = {source: sorted(draw(st.sets(st.integers(0, 30), max_size=8))) for source in (0, 1, 2)}
    written: list[tuple[int, int]] = []
    for source, offsets in events.items():
        streams = [list(offsets)]
        streams += [offsets[: draw(st.integers(0, len(offsets)))] for _ in range(draw(st.integers(0, 3)))]
        left = [[(source, offset) for offset in stream] for stream in streams]
        mine: list[tuple[int, int]] = []
        while any(left):
            stream = draw(st.sampled_from([each for each in left if each]))
            mine.append(stream.pop(0))
        at = draw(st.integers(0, len(written)))
        written = [*written[:at], *mine, *written[at:]]
    return written


@given(copied_by_several(), st.lists(st.integers(1, 10)))
def test_each_event_counts_once_and_in_order_however_it_was_copied(
    written: list[tuple[int, int]], sizes: list[int]
) -> None:
    batches, start = [], 0
    for size in [*sizes, len(written)]:
        batches.append(batch_of(start, written[start : start + size]))
        start = min(start + size, len(written))

    read = [origin for batch in interleaved(batches) for origin in batch.origins]

    for source in (0, 1, 2):
        assert [each for each in read if each[0] == source] == sorted({each for each in written if each[0] == source})


def test_a_batch_of_second_copies_only_is_empty_and_moves_on():
    batch, newest = interleave(batch_of(10, [(0, 4), (1, 2)]), {0: 4, 1: 6})

    assert (len(batch), batch.next_offset, batch.event_time_max_us, newest) == (0, 12, 7, {0: 4, 1: 6})


def test_a_log_without_copies_costs_nothing():
    batch = RecordBatch(0, [1], [b"k"], [b"v"], [0], [0], 2)

    assert interleave(batch, {})[0] is batch
