"""One lost broker of three: the job does not notice, and nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from flink.jobs import FlinkProject

from kappa.model.records import NewRecord
from kappa.stack import Stack
from kappa.testing.accounts import record

pytestmark = pytest.mark.slow


@pytest.fixture
def bank(
    flink_stack: Stack, three_broker_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlinkProject]:
    """A project whose log is at the three brokers, and all else in the stack with Flink."""
    log = {name: value for name, value in three_broker_stack.client_environment().items() if "KAFKA" in name}
    for name, value in {**flink_stack.client_environment(), **log}.items():
        monkeypatch.setenv(name, value)
    code = "from kappa.testing.accounts import *\n"
    with closing(FlinkProject(tmp_path, flink_stack, code=code, key="account")) as project:
        project.engine.start(project.version)
        yield project
    three_broker_stack.up()


def deposits_in_all_partitions(start: int, end: int) -> Sequence[NewRecord]:
    return [record(number % 9, f"account {number % 50}", number % 97) for number in range(start, end)]


def test_a_job_goes_on_as_if_nothing_had_happened_when_one_broker_of_three_dies(
    bank: FlinkProject, three_broker_stack: Stack
) -> None:
    """It leads a partition at least: there are four."""
    assert bank.settings.kafka.replication_factor == 3
    before = bank.job()
    with bank.arriving(deposits_in_all_partitions):
        bank.wait_for_commits()
        three_broker_stack.kill("kafka-2")
        folded = dict(bank.position())
        bank.wait_until(
            lambda: all(bank.position().get(partition, 0) > offset for partition, offset in folded.items()),
            "every partition has gone on",
        )

    bank.wait_until_caught_up()
    assert bank.job().id == before.id
    assert bank.health()[0].restarts == 0
    assert bank.stored() == bank.undisturbed()
