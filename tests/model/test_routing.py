"""Routing by key: sticky, one way, and spread evenly whatever the log's partitions."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.model.partitioning import partition_of
from kappa.model.routing import bucket_of, in_share

KEYS = [f"user-{n}".encode() for n in range(20_000)]
PERCENT = st.floats(min_value=0, max_value=100)


@given(st.binary(max_size=40), PERCENT, PERCENT)
def test_raising_a_share_moves_keys_to_the_candidate_only(key: bytes, one: float, other: float) -> None:
    lower, higher = sorted((one, other))

    assert in_share("users", key, higher) >= in_share("users", key, lower)


@given(st.binary(max_size=40))
def test_nothing_and_everything_are_shares(key: bytes) -> None:
    assert (in_share("users", key, 0), in_share("users", key, 100)) == (False, True)


@pytest.mark.parametrize("percent", [1, 10, 29, 50, 90])
def test_a_share_is_about_as_large_as_it_says(percent: float) -> None:
    taken = sum(in_share("users", key, percent) for key in KEYS)

    # Five standard deviations of a fair draw.
    deviation = (len(KEYS) * percent / 100 * (1 - percent / 100)) ** 0.5
    assert abs(taken - len(KEYS) * percent / 100) < 5 * deviation


@pytest.mark.parametrize("partition_count", [2, 4, 10])
def test_a_share_is_spread_over_all_partitions(partition_count: int) -> None:
    for partition in range(partition_count):
        keys = [key for key in KEYS if partition_of(key, partition_count) == partition]
        taken = sum(in_share("users", key, 10) for key in keys)

        assert abs(taken - len(keys) / 10) < 5 * (len(keys) * 0.1 * 0.9) ** 0.5


def test_views_spread_their_keys_differently() -> None:
    both = sum(in_share("users", key, 10) and in_share("cities", key, 10) for key in KEYS)

    assert 100 < both < 300  # a hundredth of 20,000


def test_a_key_is_routed_alike_in_every_process() -> None:
    code = "from kappa.model.routing import bucket_of; print([bucket_of('users', b'%d' % n) for n in range(50)])"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert there.strip() == str([bucket_of("users", b"%d" % n) for n in range(50)])
