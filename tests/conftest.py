"""How all tests run: the fast ones first, and property tests without a time limit per example."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

pytest_plugins = ["kappa.testing.stacks"]

# A shell that starts a job in the background makes it ignore Ctrl-C, and its children with it; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A limit in milliseconds fails on a machine that is busy with something else, and says nothing about the code.
settings.register_profile("kappa", deadline=None)
settings.load_profile("kappa")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that are marked as slow behind all others."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
