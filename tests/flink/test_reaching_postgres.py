"""What a job is told of PostgreSQL needs nothing of the environment that it was submitted from."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kappa.adapters.postgres.jdbc import reach, reached_by
from kappa.errors import StoreUnavailable


def test_what_the_environment_adds_to_a_connection_string_is_in_what_a_job_gets(postgres_server, monkeypatch, tmp_path):
    given = conninfo_to_dict(postgres_server.dsn)
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:*:secret\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPORT", str(given.pop("port")))
    monkeypatch.setenv("PGUSER", str(given.pop("user", "kappa")))
    monkeypatch.setenv("PGPASSFILE", str(passwords))

    reached = reach(psycopg.conninfo.make_conninfo(**given))

    monkeypatch.delenv("PGPORT")
    monkeypatch.delenv("PGUSER")
    monkeypatch.delenv("PGPASSFILE")
    with psycopg.connect(reached.dsn) as connection:
        assert connection.info.user == reached.properties["user"]
        assert reached.url == f"jdbc:postgresql://127.0.0.1:{postgres_server.port}/{connection.info.dbname}"
    assert [conninfo_to_dict(reached.dsn)["password"], reached.properties["password"]] == ["secret", "secret"]


def test_what_a_job_commits_is_on_disk_whatever_the_servers_setting(postgres_server):
    options = reach(postgres_server.dsn).properties["options"]

    with psycopg.connect(postgres_server.dsn, options=options) as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
    assert settings["synchronous_commit"] == "on"
    assert settings["idle_in_transaction_session_timeout"] == "60000"
    assert settings["tcp_keepalives_idle"] == "10"


@pytest.mark.parametrize("parameters", [{"dbname": "shop"}, {"dbname": "shop", "host": "db1,/run/postgresql"}])
def test_a_socket_of_this_machine_is_refused(parameters):
    with pytest.raises(StoreUnavailable, match="leads to a socket of this machine") as refused:
        reached_by(parameters)

    assert not refused.value.retryable
