"""Find where in a log the events of a time begin, so that what lies before need not be read.

A log that knows only when its records were appended relies on what the project says of its events (`log.ahead_max`).
That is checked on whatever is read, and on a sample of what is not: one event that is dated otherwise ends it all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta

from kappa.errors import ProjectError
from kappa.model.records import RecordBatch
from kappa.ports import Log

# Of what is passed over in a partition: a few places, evenly apart, the last one right before the time.
SAMPLE_PLACES = 4
SAMPLE_RECORDS = 100


def seek(log: Log, event_time_us: int) -> Mapping[int, int]:
    """Return `Log.offsets_from`, after a look at what lies before.

    Raises:
        ProjectError: An event is dated further ahead of its append than the project says.
    """
    offsets = log.offsets_from(event_time_us)
    if log.ahead_max_us is not None:
        for partition, start in log.starts().items():
            end = offsets[partition]
            step = max(math.ceil((end - start) / SAMPLE_PLACES), SAMPLE_RECORDS)
            for place in range(end, start, -step):
                first = max(start, place - SAMPLE_RECORDS)
                check_times(log, log.read(partition, first, records_max=place - first))
    return offsets


def check_times(log: Log, batch: RecordBatch) -> None:
    """Refuse a batch of which `Log.offsets_from` might miss an event.

    Raises:
        ProjectError: An event is dated further ahead of its append than the project says.
    """
    ahead_max_us = log.ahead_max_us
    if ahead_max_us is None or not len(batch) or batch.event_time_max_us - min(batch.appended_at_us) <= ahead_max_us:
        return
    for offset, at_us, appended_at_us in zip(batch.offsets, batch.event_times_us, batch.appended_at_us, strict=True):
        if at_us - appended_at_us > ahead_max_us:
            ahead, allowed = (timedelta(microseconds=each) for each in (at_us - appended_at_us, ahead_max_us))
            raise ProjectError(
                f"{log.name}[{batch.partition}] has an event at offset {offset:,} that is dated {ahead} after its "
                f"append, and log.ahead_max says at most {allowed}: events of a time cannot be found by it",
                next_step="set log.ahead_max to more, or remove it, so that the log is read from its start",
            )
