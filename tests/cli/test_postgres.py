"""A project whose rows and versions are in PostgreSQL, as a person meets it."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def in_postgres(project, postgres, monkeypatch):
    monkeypatch.setenv("KAPPA_STORAGE_STORE", "postgres")
    monkeypatch.setenv("KAPPA_POSTGRES_DSN", postgres.dsn)
    monkeypatch.setenv("KAPPA_POSTGRES_SCHEMA_PREFIX", postgres.prefix)
    return postgres


def test_any_sql_client_reads_the_primary(kappa, in_postgres, postgres_server) -> None:
    assert kappa("ingest", "events.ndjson").code == 0
    assert kappa("run", "--until-caught-up").code == 0

    by_kappa = kappa("query", "SELECT * FROM user_profile ORDER BY user_id", "--json").json
    by_client = postgres_server.execute(f"SELECT user_id FROM {in_postgres.prefix}.user_profile ORDER BY user_id")

    assert by_client == [(row[0],) for row in by_kappa["rows"]]
    assert len(by_client) > 0


def test_two_projects_cannot_share_their_schemas(kappa, in_postgres, monkeypatch) -> None:
    assert kappa("status").code == 0
    monkeypatch.setenv("KAPPA_PROJECT_NAME", "other")

    typed = kappa("status")

    assert typed.code == 1
    assert f"schema {in_postgres.prefix}_control belongs to project 'shop', and this is 'other'" in typed.err
    assert "next:  set another postgres.schema_prefix in kappa.toml" in typed.err


def test_a_server_that_is_not_there_is_an_error_with_its_place(kappa, in_postgres, free_port, monkeypatch) -> None:
    monkeypatch.setenv("KAPPA_POSTGRES_DSN", f"postgresql://ana:secret@127.0.0.1:{free_port}/kappa")

    typed = kappa("status")

    assert (typed.code, typed.out) == (1, "")
    assert typed.err.startswith(f"error: could not use PostgreSQL 127.0.0.1:{free_port}/kappa: ")
    assert "secret" not in typed.err


def test_roles_are_printed_as_sql(kappa, in_postgres, postgres_server) -> None:
    sql = kappa("postgres", "roles").out

    postgres_server.execute(sql)
    roles = postgres_server.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1", [f"{in_postgres.prefix}\\_%"]
    )
    assert [role for (role,) in roles] == [f"{in_postgres.prefix}_{role}" for role in ("owner", "reader", "writer")]


def test_a_driver_that_is_missing_names_the_extra(kappa, in_postgres, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "kappa.adapters.postgres.opening", None)

    typed = kappa("status")

    assert typed.code == 1
    assert "next:  install the extra: pip install 'kappa-pipeline[postgres]'" in typed.err
