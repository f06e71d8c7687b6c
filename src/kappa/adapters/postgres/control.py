"""The control store on PostgreSQL: small tables, every method one transaction. Its parts are the `control_` modules."""

from __future__ import annotations

import msgspec

from kappa.adapters.postgres import control_bundles, control_plans, control_rejected, control_release, control_versions
from kappa.adapters.postgres.control_bundles import PostgresBundles
from kappa.adapters.postgres.control_plans import PostgresPlans
from kappa.adapters.postgres.control_rejected import PostgresRejected
from kappa.adapters.postgres.control_release import PostgresRelease
from kappa.adapters.postgres.control_versions import PostgresVersions
from kappa.adapters.postgres.database import Database, create_schema, final, lock
from kappa.adapters.postgres.stored_table import SCHEMA as VIEWS_SCHEMA
from kappa.adapters.postgres.values import escaped, unescaped
from kappa.ports.engine import RunReport

_PARTS = (control_versions, control_bundles, control_release, control_plans, control_rejected)


class PostgresControl(PostgresVersions, PostgresBundles, PostgresRelease, PostgresPlans, PostgresRejected):
    """The control store in one database, created if it is not there. Not for use by two threads."""

    def __init__(self, database: Database, *, project: str) -> None:
        """Create what is missing. `database` is closed with this.

        Raises:
            StoreUnavailable: Retry; final if the schema belongs to another project than this.
        """
        super().__init__(database)
        with database.closed_on_failure():
            self._create()
            self._refuse_other_project(project)

    def _create(self) -> None:
        database, names = self._database, self._database.names
        database.create(
            names.control,
            f"""
                {"".join(part.SCHEMA for part in _PARTS)}
                CREATE TABLE report (document bytea NOT NULL);
                CREATE TABLE project (name text NOT NULL)
            """,
        )
        with database.transaction() as connection:
            lock(connection, names.control)
            create_schema(connection, names.public)
        # A promotion creates the table that it shows, if nobody has yet.
        database.create(names.views, VIEWS_SCHEMA)

    def _refuse_other_project(self, project: str) -> None:
        """Take the schema for a project, or see that it has it: two in one would stop each other's versions."""
        if not (owner := self._select("SELECT name FROM project")):
            with self._transaction() as connection:
                connection.execute(
                    "INSERT INTO project SELECT %s WHERE NOT EXISTS (SELECT FROM project)", (escaped(project),)
                )
            owner = self._select("SELECT name FROM project")
        if (name := unescaped(owner[0][0])) != project:
            cause = f"schema {self._database.names.control} belongs to project '{name}', and this is '{project}'"
            raise final(self._database.name, cause, "set another postgres.schema_prefix in kappa.toml")

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
