"""A run in PostgreSQL loses its lock with its session: whoever has taken it since runs the project."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from control.test_running import ELSEWHERE, Visits
from postgres_server import PostgresServer, end_session_of
from storages import POSTGRES, on

from kappa import parts
from kappa.errors import TakenOver

pytestmark = on(POSTGRES)


@pytest.fixture
def project(tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visits]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    project = Visits(tmp_path)
    yield project
    project.log.close()
    project.app.close()
    sys.modules.pop("visits", None)


def test_a_run_whose_lock_another_process_has_taken_since_ends(
    project: Visits, postgres_server: PostgresServer
) -> None:
    project.append(7)
    with closing(parts.open_lock(project.app.settings)) as elsewhere, project.app.run() as run:
        run.poll()
        end_session_of(project.app.lock, postgres_server.dsn)
        elsewhere.take(ELSEWHERE)

        with pytest.raises(TakenOver, match="the project now runs in process 7 on db-2, since 2026-03-01 12:00:00 UTC"):
            run.poll()


def test_whoever_needs_the_versions_to_run_follows_who_has_taken_over(
    project: Visits, postgres_server: PostgresServer
) -> None:
    with project.app.run():
        pass
    with closing(parts.open_lock(project.app.settings)) as elsewhere, project.app.runner() as runner:
        report = runner.poll()
        assert report is not None
        end_session_of(project.app.lock, postgres_server.dsn)
        elsewhere.take(ELSEWHERE)
        project.control.report(msgspec.structs.replace(report, pid=7, at=datetime.now(UTC)))

        followed = runner.poll()
        assert followed is not None
        assert followed.pid == 7
