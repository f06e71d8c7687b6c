"""The SQL views that any client can read: one per view that is served, and it shows the primary.

They are changed in the transaction that changes the release, so no reader ever finds one missing, or two of different
releases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import errors

from kappa.adapters.postgres.database import Connection, Names, lock, quoted
from kappa.adapters.postgres.stored_table import stored_table
from kappa.adapters.postgres.values import identifier
from kappa.adapters.postgres.views import create_table
from kappa.model.schema import ViewTable


def swap(connection: Connection, names: Names, *, changed: Mapping[str, ViewTable], gone: Sequence[str]) -> None:
    """Let the views in `changed` show other tables, and drop those in `gone`; part of the caller's transaction."""
    for view, table in changed.items():
        # Whoever deployed the version may have been killed before it created the table.
        lock(connection, names.views)
        create_table(connection, table, names.views)
        name = f"{quoted(names.public)}.{quoted(identifier(view))}"
        shown = stored_table(table, names.views).relation
        try:
            # Keeps what depends on the view, and who may read it; but columns can only be added behind the others.
            with connection.transaction():
                connection.execute(f"CREATE OR REPLACE VIEW {name} AS {shown}")
        except errors.InvalidTableDefinition:
            connection.execute(f"DROP VIEW {name}")
            connection.execute(f"CREATE VIEW {name} AS {shown}")
    for view in gone:
        connection.execute(f"DROP VIEW IF EXISTS {quoted(names.public)}.{quoted(identifier(view))}")
