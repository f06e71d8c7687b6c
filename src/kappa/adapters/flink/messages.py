"""What travels between Java and Python in a job: bundles of records to the fold, commits from it. Pure.

Both are msgpack arrays; the Java side has the same two shapes. A bundle without records moves a partition past offsets
that hold none; one whose next offset is `FLUSH` asks for the commit of its partition.
"""

from __future__ import annotations

import msgspec

FLUSH = -1


class Bundle(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Records of one partition in log order; fields as in `RecordBatch`."""

    partition: int
    next_offset: int
    event_time_max_us: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes]
    event_times_us: list[int]
    appended_at_us: list[int]
    origins: list[tuple[int, int]]


class Commit(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the sink writes about one partition in one transaction.

    Attributes:
        partition: Whose rows, dead letters and progress these are.
        next_offset, watermark_us: Its progress.
        origins: The same, as the view store keeps it.
        rows: Changed rows, in the form that the view store copies; may be empty.
        dead_letters: Likewise.
    """

    partition: int
    next_offset: int
    watermark_us: int
    origins: str
    rows: bytes
    dead_letters: bytes


decode_bundle = msgspec.msgpack.Decoder(Bundle).decode
encode_commit = msgspec.msgpack.Encoder().encode
