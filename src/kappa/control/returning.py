"""Say what speaks against returning to a former primary: that readers would see rows go back in time.

It reads what is committed, and the log where the former primary left off; it decides nothing else.
"""

from __future__ import annotations

import math
import time

import msgspec

from kappa.control.positions import OpenLog, position_of
from kappa.errors import HistoryLost
from kappa.model.records import Position
from kappa.planning.catch_up import duration_text
from kappa.planning.releases import missing
from kappa.ports import Former, Log, Version, ViewStore

# A version whose workers are well lags by a commit, or a checkpoint. Whoever lacks older events than this is not warm.
WARM_S = 60.0


class Return(msgspec.Struct, frozen=True):
    """What a return to a former primary would be like.

    Attributes:
        events_back: How many events readers have seen that it lacks.
        objection: Why that is more than what is on its way; empty if it is not.
    """

    events_back: int
    objection: str


def return_to(
    former: Former, version: Version, primary: Version, *, store: ViewStore, open_log: OpenLog, warm_s: float
) -> Return:
    """Say what a return would be like.

    Args:
        former: What the release says of the former primary.
        version: The former primary itself.
        primary: What readers see now.
        store: Where the positions of both are.
        open_log: Opens the log of the former primary.
        warm_s: How old an event may be that it lacks.
    """
    position = position_of(version.table, store)  # read first: the other one is at least as new
    if primary.table.log == version.table.log:
        seen: Position = position_of(primary.table, store)
    else:
        with open_log(version.table.log) as log:
            seen = log.ends()
    lacks, behind_cutover = missing(position, seen), missing(position, former.cutover)
    events_back = max(sum(lacks.values()), sum(behind_cutover.values()))
    if behind_cutover:
        where = ", ".join(f"{each:,} events on partition {partition}" for partition, each in behind_cutover.items())
        return Return(events_back, f"lags the cutover by {where}")
    if not lacks:
        return Return(0, "")
    with open_log(version.table.log) as log:
        age_s = max(_age_s(log, partition, position.get(partition, 0), seen[partition]) for partition in lacks)
    if age_s <= warm_s:
        return Return(events_back, "")
    since = "has left the log" if age_s == math.inf else f"was appended {duration_text(age_s)} ago"
    return Return(events_back, f"lacks {events_back:,} events that readers may have seen, of which the first {since}")


def _age_s(log: Log, partition: int, start: int, end: int) -> float:
    """Return how long ago the first event between two offsets was appended; 0 if there is none after all."""
    try:
        while start < end:
            batch = log.read(partition, start, records_max=1)
            if batch.offsets and batch.offsets[0] < end:
                return max(0.0, time.time() - batch.appended_at_us[0] / 1_000_000)
            if batch.next_offset <= start:
                break
            start = batch.next_offset
    except HistoryLost:
        return math.inf
    return 0.0
