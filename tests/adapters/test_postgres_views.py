"""The view store on PostgreSQL keeps the laws of a view store, and what is particular to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from kappa.adapters.postgres.database import Database
from kappa.adapters.postgres.views import PostgresViews
from kappa.testing.views_conformance import ViewStoreConformance


def open_postgres_views(dsn: str, prefix: str) -> PostgresViews:
    return PostgresViews(Database(dsn, schema_prefix=prefix))


class TestPostgresViews(ViewStoreConformance):
    @pytest.fixture
    def open_views(self, postgres) -> Callable[[], PostgresViews]:
        return partial(open_postgres_views, *postgres)
