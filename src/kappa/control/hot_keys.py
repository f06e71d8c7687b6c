"""Find the key that holds a partition up: in a sample of the events that a version has still to fold. Reads only."""

from __future__ import annotations

from collections import Counter

from kappa.planning.backpressure import HotKey
from kappa.ports import Log

# Looked at in several places, for events of one key may come in bursts. So many tell a third from a half.
_PLACES, _PLACE_RECORDS = 4, 250


def find_hot_key(log: Log, partition: int, start: int) -> HotKey | None:
    """Return the key that most events of a partition have from offset `start` on; None if none has a key."""
    start, end = max(start, log.starts()[partition]), log.ends()[partition]
    step = max(_PLACE_RECORDS, (end - start) // _PLACES)
    keys = Counter(
        key
        for place in range(start, end, step)
        for key in log.read(partition, place, records_max=_PLACE_RECORDS).keys
        if key is not None
    )
    if not keys:
        return None
    ((key, count),) = keys.most_common(1)
    return HotKey(key.decode(errors="replace"), count / keys.total())
