"""The SQL that makes the roles of a project: what each may do, and no more. Text only; somebody who may runs it."""

from __future__ import annotations

# OWNER makes tables and swaps views, so it is what kappa itself connects as. Rights on what it will make come by
# default privileges, which are the owner's to give: hence FOR ROLE.
_ROLES = """\
-- Roles of a kappa project, for `psql` and a role that may create roles. Running it again changes nothing.
-- They have no passwords and cannot log in: grant them to those who can, for example
--   CREATE ROLE ana LOGIN; GRANT {reader} TO ana;

DO $$ BEGIN
    CREATE ROLE {owner} NOLOGIN;
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN
    CREATE ROLE {writer} NOLOGIN;
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN
    CREATE ROLE {reader} NOLOGIN;
EXCEPTION WHEN duplicate_object THEN NULL; END $$;

-- {owner}: runs kappa (plan, apply, promote, up). It owns the schemas, and makes and drops the tables of versions.
CREATE SCHEMA IF NOT EXISTS {prefix} AUTHORIZATION {owner};
CREATE SCHEMA IF NOT EXISTS {prefix}_views AUTHORIZATION {owner};
CREATE SCHEMA IF NOT EXISTS {prefix}_control AUTHORIZATION {owner};

-- {writer}: writes rows of versions that exist. It changes no release and makes no table that lasts.
GRANT USAGE ON SCHEMA {prefix}_views, {prefix}_control TO {writer};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {prefix}_views
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writer};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {prefix}_control
    GRANT SELECT ON TABLES TO {writer};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {prefix}_views TO {writer};
GRANT SELECT ON ALL TABLES IN SCHEMA {prefix}_control TO {writer};
DO $$ BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {writer}', current_database());
END $$;

-- {reader}: reads what is served, {prefix}.VIEW, and the tables of versions. postgres.query_dsn is for such a role.
GRANT USAGE ON SCHEMA {prefix}, {prefix}_views TO {reader};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {prefix} GRANT SELECT ON TABLES TO {reader};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {prefix}_views GRANT SELECT ON TABLES TO {reader};
GRANT SELECT ON ALL TABLES IN SCHEMA {prefix} TO {reader};
GRANT SELECT ON ALL TABLES IN SCHEMA {prefix}_views TO {reader};
ALTER ROLE {reader} SET default_transaction_read_only = on;
"""


def roles_sql(prefix: str) -> str:
    """Return SQL that creates the roles PREFIX_owner, PREFIX_writer and PREFIX_reader with their rights.

    >>> "GRANT USAGE ON SCHEMA shop, shop_views TO shop_reader;" in roles_sql("shop")
    True
    """
    return _ROLES.format(prefix=prefix, owner=f"{prefix}_owner", writer=f"{prefix}_writer", reader=f"{prefix}_reader")
