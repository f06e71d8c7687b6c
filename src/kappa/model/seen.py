"""What a row remembers of the event ids it has seen, so that a view can ignore duplicates. Pure.

The memory is a dict from event id to event time in microseconds, in order of arrival.
"""

from __future__ import annotations


def is_duplicate(seen: dict[str, int], event_id: str, time_us: int, window_us: int) -> bool:
    """Say whether an event id was seen, in event time, within the window before or after `time_us`."""
    before = seen.get(event_id)
    return before is not None and abs(time_us - before) <= window_us


def remember(seen: dict[str, int], event_id: str, time_us: int, window_us: int) -> None:
    """Note an event id, and forget those at the front that are older than the window.

    One that comes from the future would keep all behind it from being forgotten, so it goes to the back.

    >>> seen = {"from 2999": 99_000, "old": 10}
    >>> remember(seen, "new", 100, 50)
    >>> remember(seen, "newer", 110, 50)
    >>> list(seen)
    ['new', 'from 2999', 'newer']
    """
    seen.pop(event_id, None)
    seen[event_id] = time_us
    while (time_of_oldest := seen[oldest := next(iter(seen))]) < time_us - window_us:
        del seen[oldest]
    if time_of_oldest > time_us + window_us:
        seen[oldest] = seen.pop(oldest)
