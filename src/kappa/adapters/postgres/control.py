"""The control store on PostgreSQL: small tables, every method one transaction. Its parts are the `control_` modules."""

from __future__ import annotations

import msgspec

from kappa.adapters.postgres import control_bundles, control_plans, control_rejected, control_release, control_versions
from kappa.adapters.postgres.control_bundles import PostgresBundles
from kappa.adapters.postgres.control_plans import PostgresPlans
from kappa.adapters.postgres.control_rejected import PostgresRejected
from kappa.adapters.postgres.control_release import PostgresRelease
from kappa.adapters.postgres.control_versions import PostgresVersions
from kappa.adapters.postgres.database import Database, quoted
from kappa.adapters.postgres.stored_table import SCHEMA as VIEWS_SCHEMA
from kappa.ports.engine import RunReport

_PARTS = (control_versions, control_bundles, control_release, control_plans, control_rejected)


class PostgresControl(PostgresVersions, PostgresBundles, PostgresRelease, PostgresPlans, PostgresRejected):
    """The control store in one database, created if it is not there. Not for use by two threads."""

    def __init__(self, database: Database) -> None:
        """Create what is missing. `database` is closed with this."""
        names = database.names
        schema = f"""
            {"".join(part.SCHEMA for part in _PARTS)}
            CREATE TABLE report (document bytea NOT NULL);
            CREATE SCHEMA IF NOT EXISTS {quoted(names.public)}
        """
        database.create(names.control, schema)
        # A promotion creates the table that it shows, if nobody has yet.
        database.create(names.views, VIEWS_SCHEMA)
        super().__init__(database)

    def report(self, report: RunReport) -> None:
        with self._transaction() as connection:
            # A report that a power failure takes was worth nothing.
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute("DELETE FROM report")
            connection.execute("INSERT INTO report VALUES (%s)", (msgspec.json.encode(report),))

    def last_report(self) -> RunReport | None:
        found = self._select("SELECT document FROM report")
        return msgspec.json.decode(found[0][0], type=RunReport) if found else None

    def close(self) -> None:
        self._database.close()
