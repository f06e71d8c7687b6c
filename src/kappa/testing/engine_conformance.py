"""The laws of the `Engine` port, shown on real workers: whatever is killed, rows and dead letters are those of one
undisturbed kernel.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from kappa.model.kernel import Kernel
from kappa.model.records import Changes, NewRecord, lag
from kappa.ports import Engine, Log, Version, ViewStore, WorkerHealth
from kappa.testing.accounts import EVENTS, Account, record
from kappa.testing.conformance import Conformance
from kappa.testing.eventually import eventually
from kappa.testing.reading import all_batches

# Only a failure takes that long: machines that died are missed after some time, and a job is restarted after some more.
TIMEOUT_S = 180.0


class EngineWorld(Protocol):
    """What an adapter's `world` fixture gives: an engine with nothing started, and the parts it works on.

    Attributes:
        engine: The engine under test.
        log: The event log, empty, keyed by account.
        store: Where rows arrive.
        version: The only version: `kappa.testing.accounts.Account`, deployed, its table created, with two groups.
        many: So many records that folding them with one ten thousandth of the time takes far longer than twice as long.
    """

    engine: Engine
    log: Log
    store: ViewStore
    version: Version
    many: int

    def kill_workers(self) -> int:
        """Kill every process that folds the version with SIGKILL, and return how many there were."""

    def remove_working_tree(self) -> None:
        """Delete the project's settings and code, as somebody does who checks out another branch."""

    def damage_bundle(self) -> None:
        """Alter the code that is stored for the version."""

    def fence(self) -> None:
        """Take over every partition group, as a newer worker would."""


def deposits(start: int, end: int) -> list[NewRecord]:
    """Return good and bad records number `start` to `end` for a dozen accounts."""
    return [record(number % 9, f"account {number * 7 % 12}", number % 97) for number in range(start, end)]


class EngineConformance(Conformance):
    """An adapter gives a `world` fixture and nothing else."""

    def test_a_started_version_folds_what_is_in_the_log(self, world: EngineWorld) -> None:
        world.log.append(deposits(0, 500))

        world.engine.start(world.version)

        wait_until_caught_up(world)
        assert_as_undisturbed(world)

    def test_a_running_version_folds_what_is_appended(self, world: EngineWorld) -> None:
        world.engine.start(world.version)

        for start in range(0, 500, 100):
            world.log.append(deposits(start, start + 100))
            wait_until_caught_up(world)

        assert_as_undisturbed(world)

    def test_starting_twice_is_starting_once(self, world: EngineWorld) -> None:
        world.engine.start(world.version)
        wait_until_working(world)
        workers = {(worker.name, worker.pid) for worker in world.engine.poll()}

        world.engine.start(world.version)

        wait_until_working(world)
        assert {(worker.name, worker.pid) for worker in world.engine.poll()} == workers
        assert not any(worker.restarts for worker in world.engine.poll())

    def test_killed_workers_come_back_and_nothing_is_lost_or_doubled(self, world: EngineWorld) -> None:
        world.engine.start(world.version)

        for start in range(0, 3_000, 1_000):
            world.log.append(deposits(start, start + 1_000))
            eventually(
                lambda: all(worker.state == "running" for worker in world.engine.poll()),
                timeout_s=TIMEOUT_S,
                what="every worker runs",
            )
            assert world.kill_workers() > 0

        wait_until_caught_up(world)
        assert sum(worker.restarts for worker in world.engine.poll()) > 0
        assert_as_undisturbed(world)

    def test_a_stopped_version_has_committed_and_goes_on_where_it_stopped(self, world: EngineWorld) -> None:
        world.log.append(deposits(0, 2_000))
        world.engine.start(world.version)
        eventually(lambda: world.engine.poll() and position(world) > 0, timeout_s=TIMEOUT_S, what="some are committed")

        world.engine.stop(world.version)

        stopped_at = position(world)
        assert world.engine.poll() == []
        world.log.append(deposits(2_000, 2_500))
        assert position(world) == stopped_at
        world.engine.start(world.version)
        wait_until_caught_up(world)
        assert_as_undisturbed(world)

    def test_stopping_what_does_not_run_changes_nothing(self, world: EngineWorld) -> None:
        world.engine.stop(world.version)

        assert world.engine.poll() == []

    def test_a_fenced_worker_writes_nothing_and_is_not_restarted(self, world: EngineWorld) -> None:
        world.engine.start(world.version)
        wait_until_working(world)
        world.fence()

        world.log.append(deposits(0, 500))

        workers = wait_until_failed(world)
        assert all("epoch" in worker.detail for worker in workers)
        assert world.store.row_count(world.version.table) == 0

    def test_a_version_runs_its_own_code_whatever_becomes_of_the_working_tree(self, world: EngineWorld) -> None:
        world.log.append(deposits(0, 500))
        world.remove_working_tree()

        world.engine.start(world.version)

        wait_until_caught_up(world)
        assert_as_undisturbed(world)

    def test_damaged_code_does_not_fold(self, world: EngineWorld) -> None:
        world.log.append(deposits(0, 500))
        world.damage_bundle()

        world.engine.start(world.version)

        assert all("damaged" in worker.detail for worker in wait_until_failed(world))
        assert world.store.row_count(world.version.table) == 0

    def test_a_throttled_version_is_slower_and_loses_nothing(self, world: EngineWorld) -> None:
        world.engine.start(world.version)
        wait_until_working(world)
        full_speed_s = fold_more(world, 0, world.many)

        world.engine.throttle(world.version, 1 / 10_000)
        world.log.append(deposits(world.many, 2 * world.many))

        assert is_behind_after(world, 2 * full_speed_s)
        world.engine.throttle(world.version, 1.0)
        wait_until_caught_up(world)
        assert_as_undisturbed(world)

    def test_a_throttled_worker_that_is_restarted_stays_throttled(self, world: EngineWorld) -> None:
        world.engine.start(world.version)
        wait_until_working(world)
        full_speed_s = fold_more(world, 0, world.many)
        world.engine.throttle(world.version, 1 / 10_000)

        world.kill_workers()
        eventually(
            lambda: all(worker.restarts for worker in world.engine.poll()),
            timeout_s=TIMEOUT_S,
            what="every worker restarted",
        )
        wait_until_working(world)
        world.log.append(deposits(world.many, 2 * world.many))

        assert is_behind_after(world, 2 * full_speed_s)

    def test_a_version_that_is_not_throttled_any_more_is_free_at_once(self, world: EngineWorld) -> None:
        world.engine.start(world.version)
        wait_until_working(world)
        world.engine.throttle(world.version, 1 / 10_000)
        world.log.append(deposits(0, world.many))
        eventually(
            lambda: any(sum(worker.positions.values()) for worker in world.engine.poll()),
            timeout_s=TIMEOUT_S,
            what="it has worked, and rests for minutes",
        )

        world.engine.throttle(world.version, 1.0)

        wait_until_caught_up(world)
        assert_as_undisturbed(world)


def position(world: EngineWorld) -> int:
    """Return how many records are folded and committed."""
    return sum(progress.next_offset for progress in world.store.progress(world.version.table).values())


def wait_until_caught_up(world: EngineWorld) -> None:
    """Poll the engine until everything in the log is committed."""

    def caught_up() -> bool:
        workers = world.engine.poll()
        assert not [worker for worker in workers if worker.state == "failed"], workers
        progress = world.store.progress(world.version.table)
        return lag({partition: entry.next_offset for partition, entry in progress.items()}, world.log.ends()) == 0

    eventually(caught_up, timeout_s=TIMEOUT_S, what="the version has caught up")


def wait_until_working(world: EngineWorld) -> None:
    """Poll the engine until every worker has said where it is."""
    eventually(
        lambda: all(worker.positions for worker in world.engine.poll()),
        timeout_s=TIMEOUT_S,
        what="every worker at work",
    )


def fold_more(world: EngineWorld, start: int, end: int) -> float:
    """Append records and return how many seconds it takes to fold them."""
    world.log.append(deposits(start, end))
    began = time.monotonic()
    wait_until_caught_up(world)
    return time.monotonic() - began


def is_behind_after(world: EngineWorld, seconds: float) -> bool:
    """Poll the engine for a time, and say whether the version still is behind the end of the log.

    A share of the time of one in ten thousand takes longer than any machine's noise.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        world.engine.poll()
        time.sleep(0.02)
    progress = world.store.progress(world.version.table)
    return lag({partition: entry.next_offset for partition, entry in progress.items()}, world.log.ends()) > 0


def wait_until_failed(world: EngineWorld) -> Sequence[WorkerHealth]:
    """Poll the engine until no worker runs any more, and return how they are."""
    eventually(
        lambda: all(worker.state == "failed" for worker in world.engine.poll()),
        timeout_s=TIMEOUT_S,
        what="all workers failed",
    )
    return world.engine.poll()


def assert_as_undisturbed(world: EngineWorld) -> None:
    """Compare everything stored with what one kernel makes of the same log, byte for byte."""
    table = world.version.table
    expected = undisturbed(world.log)
    rows = [
        (row.columns, row.state, row.partition, row.offset, row.step, row.due_us) for row in world.store.scan(table)
    ]
    letters = world.store.dead_letters(table, limit=1_000_000)

    assert sorted(rows) == sorted(
        (row.columns, row.state, row.partition, row.offset, row.step, row.due_us) for row in expected.rows
    )
    assert [(letter.partition, letter.offset, letter.reason, letter.value) for letter in letters] == sorted(
        (letter.partition, letter.offset, letter.reason, letter.value) for letter in expected.dead_letters
    )


def undisturbed(log: Log) -> Changes:
    """Fold a whole log in memory."""
    kernel = Kernel(Account, events=EVENTS, load=lambda _: {}, rows_max=1_000_000, store_empty=True)
    for batch in all_batches(log):
        kernel.fold(batch)
    return kernel.take_changes()
