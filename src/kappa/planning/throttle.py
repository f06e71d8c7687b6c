"""Say how fast a candidate may work while the versions that people read have fallen behind. Pure.

A share is a part of the time: 1 is full speed. Lag is in records.
"""

from __future__ import annotations

# A candidate that stood still would never say how fast it is; so slow, it takes nothing from anybody.
SHARE_MIN = 1 / 64


def next_share(share: float, *, live_lag: int, lag_max: int) -> float:
    """Return the share of the time that a candidate may work from now on. Called about once a second.

    It is halved while the lag exceeds its limit, and doubled while it is below half of that: between the two it stays,
    so that it settles.

    Args:
        share: What it is now, 0 < share <= 1.
        live_lag: Of the primary that is furthest behind.
        lag_max: What it should not exceed.

    >>> next_share(1.0, live_lag=60_000, lag_max=50_000)
    0.5
    >>> next_share(0.5, live_lag=30_000, lag_max=50_000), next_share(0.5, live_lag=20_000, lag_max=50_000)
    (0.5, 1.0)
    """
    assert 0 < share <= 1, share
    if live_lag > lag_max:
        return max(share / 2, SHARE_MIN)
    if live_lag < lag_max / 2:
        return min(2 * share, 1.0)
    return share
