"""Say which keys a candidate serves while it has a share of them: sticky by hash, the same in every process for ever.

Pure. It does not know who is primary; and it shares nothing with the log's partitioner, so that a share is spread over
all partitions. Of two shares the larger one holds every key of the smaller: raising a share moves keys to the
candidate only, lowering it moves them back only.
"""

from __future__ import annotations

from hashlib import blake2b

# A share is whole hundredths of a percent.
BUCKET_COUNT = 10_000


def bucket_of(view: str, key: bytes) -> int:
    """Return the bucket of a record key, 0 <= bucket < `BUCKET_COUNT`. Views spread their keys differently.

    >>> bucket_of("carrier", b"UA"), bucket_of("carrier", b"B6"), bucket_of("route", b"UA")
    (249, 2209, 8739)
    """
    # A view's name holds no NUL character, so no two pairs are hashed alike.
    digest = blake2b(b"%b\0%b" % (view.encode(), key), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKET_COUNT


def in_share(view: str, key: bytes, percent: float) -> bool:
    """Say whether a record key belongs to the share of a view's keys, 0 <= percent <= 100, that a candidate serves."""
    return bucket_of(view, key) < round(percent * BUCKET_COUNT / 100)
