"""`kappa postgres`: what only a project in PostgreSQL needs."""

from __future__ import annotations

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb


class RolesSql(msgspec.Struct, frozen=True):
    """The SQL that makes the project's roles."""

    sql: str


@click.group()
def postgres() -> None:
    """Show what a project in PostgreSQL needs there."""


@verb
def roles(app: App, out: Output) -> None:
    """Print the SQL that makes three roles with no more rights than they need: owner, writer and reader.

    Nothing is changed. Their names begin with postgres.schema_prefix; running the SQL again changes nothing.

    Example:
      kappa postgres roles | psql "$ADMIN_DSN"
    """
    sql = app.postgres_roles
    out.show(RolesSql(sql), lambda: out.raw(sql))


postgres.add_command(roles)
