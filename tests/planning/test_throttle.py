"""A candidate gives way to those that people read, and comes back to full speed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kappa.planning.throttle import SHARE_MIN, next_share

shares = st.sampled_from([1 / 2**power for power in range(7)])
lags = st.integers(0, 10**9)
limits = st.integers(1, 10**9)


@given(share=shares, lag=lags, limit=limits)
def test_a_share_stays_between_its_bounds_and_moves_in_the_right_direction(share: float, lag: int, limit: int) -> None:
    after = next_share(share, live_lag=lag, lag_max=limit)

    assert SHARE_MIN <= after <= 1
    assert after <= share or lag < limit / 2
    assert after >= share or lag > limit


@given(share=shares, limit=limits)
def test_whatever_the_share_a_few_calls_lead_to_either_end(share: float, limit: int) -> None:
    slowest = fastest = share
    for _ in range(6):
        slowest = next_share(slowest, live_lag=limit + 1, lag_max=limit)
        fastest = next_share(fastest, live_lag=0, lag_max=limit)

    assert (slowest, fastest) == (SHARE_MIN, 1.0)
