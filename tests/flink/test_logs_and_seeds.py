"""What a job starts from and reads, other than the event log from its start: a seed, and a repartitioned log."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from flink.jobs import FlinkProject

from kappa import parts
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.seeding import make_seed
from kappa.control.versions import deployment_of
from kappa.model.records import NewRecord, lag
from kappa.ports import Seed, Version
from kappa.ports.log import copied_up_to
from kappa.stack import TASK_MANAGERS, Stack
from kappa.stack.flink import task_manager_names
from kappa.testing.eventually import eventually
from kappa.testing.reading import batches_of

pytestmark = pytest.mark.slow

CUSTOMERS = """
from decimal import Decimal
from kappa import Event, View, average, count, migrate

class Paid(Event):
    user: str
    amount: Decimal

class Customer(View, key="user"):
    first_name: str = "Ana"
    last_name: str = "Sol"
    payments: int = count(Paid)
    mean: Decimal | None = average(Paid.amount)
"""
RENAMED = """
class Customer(View, key="user"):
    name: str = ""
    payments: int = count(Paid)
    mean: Decimal | None = average(Paid.amount)

    @staticmethod
    @migrate(from_version=1)
    def from_v1(old):
        return {"name": f"{old['first_name']} {old['last_name']}"}
"""
PAGES = """
from kappa import Event, View, count

class Seen(Event):
    user: str
    page: str

class Page(View, key="page"):
    seen: int = count(Seen)
"""


@pytest.fixture(autouse=True)
def stack(flink_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    for name, value in flink_stack.client_environment().items():
        monkeypatch.setenv(name, value)
    return flink_stack


@pytest.fixture
def customers(stack: Stack, tmp_path: Path) -> Iterator[FlinkProject]:
    with closing(FlinkProject(tmp_path, stack, code=CUSTOMERS, key="user", workers=1)) as project:
        yield project


@pytest.fixture
def pages(stack: Stack, tmp_path: Path) -> Iterator[FlinkProject]:
    with closing(FlinkProject(tmp_path, stack, code=PAGES, key="user", workers=1)) as project:
        yield project


def payments(start: int, end: int) -> Sequence[NewRecord]:
    """Every tenth amount is none."""
    return [
        event("Paid", f"user {number % 50}", amount=number if number % 10 else "much") for number in range(start, end)
    ]


def visits(start: int, end: int) -> Sequence[NewRecord]:
    return [event("Seen", f"user {number % 50}", page=f"/{number % 7}") for number in range(start, end)]


def event(kind: str, user: str, **fields: object) -> NewRecord:
    value = {"type": kind, "timestamp": "2026-03-01T12:00:00Z", "user": user, **fields}
    return NewRecord(user.encode(), msgspec.json.encode(value), 1_772_366_400_000_000)


def test_a_migrated_version_starts_from_its_seed_without_the_log_before_it(customers: FlinkProject) -> None:
    """And has the rows that the embedded engine makes of the same seed."""
    first = customers.version
    customers.log.append(payments(0, 500))
    with closing(parts.embedded_engine(customers.settings)) as embedded:
        embedded.start(first)
        eventually(lambda: embedded.poll() and caught_up(customers, first))
    customers.code_file.write_text(CUSTOMERS.split("class Customer", maxsplit=1)[0] + RENAMED)
    by_flink, by_workers = seeded(customers, first), seeded(customers, first)
    customers.forget_all()

    customers.version = by_flink
    customers.engine.start(by_flink)
    with closing(parts.embedded_engine(customers.settings)) as embedded, customers.arriving(payments):
        embedded.start(by_workers)
        customers.wait_for_commits()
        customers.wait_for_commits()
    customers.wait_until_caught_up()
    with closing(parts.embedded_engine(customers.settings)) as embedded:
        embedded.start(by_workers)
        eventually(lambda: embedded.poll() and caught_up(customers, by_workers))

    assert customers.stored(by_flink) == customers.stored(by_workers)
    assert {row.columns[1] for row in customers.store.scan(by_flink.table)} == {"Ana Sol"}


def seeded(project: FlinkProject, base: Version) -> Version:
    """Deploy today's code as the next version, and make its seed of another one's rows."""
    bundle = project.app.bundles.store(project.folder, [project.module])
    loaded = project.app.bundles.load(bundle)
    view = loaded.project.views["customer"]
    version = project.app.control.deploy(
        deployment_of(
            view,
            len(project.app.control.versions("customer")) + 1,
            parts=fingerprint_parts(view, loaded.root),
            bundle=bundle,
            layout=project.app.layout,
            seed=Seed("migration", base.table.version),
        )
    )
    for _ in make_seed(
        version,
        base,
        store=project.store,
        control=project.app.control,
        log=project.log,
        load_code=project.app.bundles.code,
    ):
        pass
    return version


def caught_up(project: FlinkProject, version: Version) -> bool:
    progress = project.store.progress(version.table)
    return lag({number: its.next_offset for number, its in progress.items()}, project.log.ends()) == 0


def test_a_view_with_another_key_counts_each_event_once_although_what_copies_them_is_killed(
    pages: FlinkProject,
) -> None:
    pages.engine.start(pages.version)
    with pages.arriving(visits):
        for _ in range(3):
            pages.wait_for_commits()
            (copier,) = eventually(lambda: [worker.pid for worker in pages.health() if worker.pid is not None])
            os.kill(copier, signal.SIGKILL)
        for name in task_manager_names(TASK_MANAGERS):
            pages.stack.kill(name)
        pages.stack.up()
        pages.wait_for_commits()
    with closing(pages.app.open_log(pages.version.table.log)) as copies:
        pages.wait_until(lambda: copied_up_to(pages.log, copies) == pages.log.ends(), "all events are copied")
    pages.wait_until_caught_up()

    rows = {row.columns[0]: row.columns[1] for row in pages.store.scan(pages.version.table)}
    assert rows == seen(pages)
    assert pages.stored() == pages.undisturbed()


def seen(project: FlinkProject) -> Mapping[str, int]:
    """Count in the event log itself."""
    return Counter(
        msgspec.json.decode(value)["page"]
        for partition in range(project.log.partition_count)
        for batch in batches_of(project.log, partition)
        for value in batch.values
    )
