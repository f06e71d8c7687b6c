"""What the laws of a control store have in common: the store, and the versions in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, settings

from kappa.ports.control import ControlStore
from kappa.testing.conformance import Conformance
from kappa.testing.deployments import CITIES, CITIES_2, CODE, USERS, USERS_2, deployment

# The store outlives the examples of a property: each takes views of its own.
# Differing executors: one session may hold several adapters to the same law.
EXAMPLES = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class ControlLaws(Conformance):
    """The store that the laws are about; see `ControlStoreConformance`."""

    @pytest.fixture
    def new_control(self, open_control: Callable[[], ControlStore]) -> Iterator[ControlStore]:
        """A store that holds nothing."""
        with closing(open_control()) as control:
            yield control

    @pytest.fixture
    def control(self, new_control: ControlStore) -> ControlStore:
        """A store that holds the bundle of every `deployment`."""
        new_control.store_bundle(CODE)
        return new_control

    @pytest.fixture
    def deployed(self, control: ControlStore) -> ControlStore:
        """A store in which `users` and `cities` have the versions 1 and 2."""
        for table in (USERS, USERS_2, CITIES, CITIES_2):
            control.deploy(deployment(table))
        return control
