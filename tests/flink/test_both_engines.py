"""The two engines against each other, at random: over one log of everything that makes folding hard, on a real cluster
that loses a machine, random views hold the same bytes as by the embedded engine.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest
from embedded.shared import contents
from flink.jobs import TIMEOUT_S, FlinkProject
from hypothesis import Phase, given, seed, settings
from model import ledger
from model.test_kernel import drawn_records
from storages import append_in_transactions

from kappa import parts
from kappa.app import App
from kappa.control.versions import FirstVersions
from kappa.model.records import NewRecord, lag
from kappa.model.schema import encode_key
from kappa.ports import Engine, Version
from kappa.ports.log import EVENT_LOG, copied_up_to
from kappa.stack import Stack
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

# A slot each: as many as the cluster has.
VIEWS = 2


@pytest.mark.parametrize("number", [int(os.environ.get("KAPPA_TEST_SEED", "1"))])
def test_random_views_hold_the_bytes_of_the_embedded_engine_although_a_machine_was_lost(
    flink_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for name, value in flink_stack.client_environment().items():
        monkeypatch.setenv(name, value)
    chance = random.Random(number)  # noqa: S311 - reproducible on purpose
    batches = random_batches(number)
    chance.shuffle(batches)
    code = Path(ledger.__file__).read_text()
    with closing(FlinkProject(tmp_path, flink_stack, code=code, key="user_id", workers=1)) as project:
        versions = chance.sample(list(project.app.control.versions()), k=VIEWS)
        print(f"seed {number}: {[version.table.name for version in versions]}")  # noqa: T201 - a failure shows it

        for version in versions:
            project.engine.start(version)
        append(project, batches[::2])
        project.wait_until(lambda: all(started(project.app, version) for version in versions), "some are committed")
        flink_stack.kill("taskmanager-1")
        append(project, batches[1::2])
        flink_stack.start("taskmanager-1")
        wait_until_caught_up(project.engine, project.app, versions)
        assert sum(worker.restarts for worker in project.health()) > 0
        project.engine.close()

        with embedded(project) as app, closing(parts.embedded_engine(app.settings)) as engine:
            for version in versions:
                engine.start(version)
            wait_until_caught_up(engine, app, versions)
            for version in versions:
                rows, dead_letters, progress = contents(project.app.views, version.table)
                assert rows
                assert dead_letters
                assert (rows, dead_letters, progress) == contents(app.views, version.table)


def random_batches(number: int) -> list[Sequence[NewRecord]]:
    """Return the records of some fifty random examples of a log."""
    batches = []

    @seed(number)
    @settings(max_examples=50, database=None, phases=[Phase.generate])
    @given(drawn_records)
    def collect(drawn: Sequence[tuple[int, int, int]]) -> None:
        batches.append([new_record(*each) for each in drawn])

    collect()
    return batches


def new_record(kind: int, user: int, number: int) -> NewRecord:
    keys, value, time_us = ledger.record(kind, user, number)
    return NewRecord(None if keys is None else encode_key((keys["user_id"],)), value, time_us)


def append(project: FlinkProject, batches: Sequence[Sequence[NewRecord]]) -> None:
    for batch in batches:
        append_in_transactions(project.log, batch)


def embedded(project: FlinkProject) -> App:
    """Return the same project over the same log, with rows and versions of its own, for the embedded engine."""
    postgres, engine = project.settings.postgres, project.settings.engine
    app = App(
        msgspec.structs.replace(
            project.settings,
            postgres=msgspec.structs.replace(postgres, schema_prefix=f"{postgres.schema_prefix}e"),
            engine=msgspec.structs.replace(engine, kind="embedded"),
        )
    )
    first = FirstVersions(project.folder, [project.module], bundles=app.bundles, control=app.control, store=app.views)
    first.deploy(lambda: app.project, layout=app.layout, actor="ana")
    return app


def started(app: App, version: Version) -> bool:
    return any(its.next_offset for its in app.views.progress(version.table).values())


def wait_until_caught_up(engine: Engine, app: App, versions: Sequence[Version]) -> None:
    """Look after an engine until everything in the event log, and in its copies, is committed."""
    with ExitStack() as opened:
        logs = {name: opened.enter_context(closing(app.open_log(name))) for name in {v.table.log for v in versions}}

        def caught_up() -> bool:
            failed = [worker for worker in engine.poll() if worker.state == "failed"]
            assert not failed, failed
            copied = all(
                copied_up_to(app.events, log) == app.events.ends() for name, log in logs.items() if name != EVENT_LOG
            )
            return copied and all(
                lag(
                    {number: its.next_offset for number, its in app.views.progress(table).items()},
                    logs[table.log].ends(),
                )
                == 0
                for table in (version.table for version in versions)
            )

        eventually(caught_up, timeout_s=TIMEOUT_S, what="the versions have caught up")
