"""Errors travel between processes with their fields, which whoever catches them there reads."""

from __future__ import annotations

import pickle

import pytest

from kappa.errors import DefinitionError, KappaError, SourceMoved, StorageFull, StoreUnavailable


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable(store="Kafka", cause="its brokers are down", next_step="start them"),
        StorageFull(store="a disk", cause="no room"),
        SourceMoved(log="events", source="orders.ndjson"),
        DefinitionError("a view needs a key", where="shop/views.py:12"),
    ],
)
def test_an_error_is_the_same_in_another_process(error: KappaError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
