"""What the client fetched, as a batch of records. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from confluent_kafka import Message

from kappa.adapters.kafka.headers import Headers, event_time_us, origin_of
from kappa.model.records import RecordBatch


def batch_of(partition: int, messages: Sequence[Message], next_offset: int, *, copies: bool) -> RecordBatch:
    """Return records that were fetched from one partition; `copies` says whether their origin is asked for."""
    if not messages:
        return RecordBatch(partition, (), (), (), (), (), next_offset)
    offsets = cast("list[int]", [message.offset() for message in messages])  # what was fetched has its place
    headers = cast("list[Headers]", [message.headers() for message in messages])  # never a dictionary
    times = [event_time_us(each) for each in headers]
    return RecordBatch(
        partition,
        offsets,
        [message.key() for message in messages],
        # A record without a value would be a deletion in a compacted topic. Here it is no event.
        [message.value() or b"" for message in messages],
        times,
        [message.timestamp()[1] * 1_000 for message in messages],
        next_offset,
        max(times),
        [origin_of(each, offset) for each, offset in zip(headers, offsets, strict=True)] if copies else (),
    )
