"""The control store on PostgreSQL keeps the laws of a control store, and what is particular to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from kappa.adapters.postgres.control import PostgresControl
from kappa.adapters.postgres.opening import open_control
from kappa.testing.control_conformance import ControlStoreConformance


def open_postgres_control(dsn: str, prefix: str, project: str = "shop") -> PostgresControl:
    return open_control(dsn, schema_prefix=prefix, project=project)


class TestPostgresControl(ControlStoreConformance):
    @pytest.fixture
    def open_control(self, postgres) -> Callable[[], PostgresControl]:
        return partial(open_postgres_control, *postgres)
