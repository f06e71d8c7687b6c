"""The control store on PostgreSQL keeps the laws of a control store, and what is particular to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from kappa.adapters.postgres.control import PostgresControl
from kappa.adapters.postgres.database import Database
from kappa.testing.control_conformance import ControlStoreConformance


def open_postgres_control(dsn: str, prefix: str) -> PostgresControl:
    return PostgresControl(Database(dsn, schema_prefix=prefix))


class TestPostgresControl(ControlStoreConformance):
    @pytest.fixture
    def open_control(self, postgres) -> Callable[[], PostgresControl]:
        return partial(open_postgres_control, *postgres)
