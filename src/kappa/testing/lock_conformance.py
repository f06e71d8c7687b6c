"""The laws of the `ProjectLock` port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest

from kappa.errors import AlreadyRunning
from kappa.ports.lock import Holder, ProjectLock
from kappa.testing.conformance import Conformance
from kappa.testing.eventually import eventually
from kappa.testing.processes import hold_lock, run_and_kill, this_process

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def taken(lock: ProjectLock, holder: Holder) -> bool:
    """Take a lock unless somebody has it, and say whether that worked."""
    try:
        lock.take(holder)
    except AlreadyRunning:
        return False
    return True


class ProjectLockConformance(Conformance):
    """Laws of the lock of a project. An adapter gives the fixture `open_lock`: a picklable function that opens one.

    Every test gets a project of its own.
    """

    @pytest.fixture
    def lock(self, open_lock: Callable[[], ProjectLock]) -> Iterator[ProjectLock]:
        """A lock that nobody has."""
        with closing(open_lock()) as lock:
            yield lock

    @pytest.fixture
    def other(self, open_lock: Callable[[], ProjectLock]) -> Iterator[ProjectLock]:
        """The same lock, as somebody else sees it."""
        with closing(open_lock()) as other:
            yield other

    def test_a_lock_that_nobody_has_taken_has_no_holder(self, lock: ProjectLock) -> None:
        assert lock.holder() is None

    def test_whoever_has_the_lock_is_known_to_others(self, lock: ProjectLock, other: ProjectLock) -> None:
        lock.take(this_process(NOON))
        lock.check()

        assert lock.holder() == other.holder() == this_process(NOON)

    def test_a_second_is_refused_and_told_of_the_first(self, lock: ProjectLock, other: ProjectLock) -> None:
        lock.take(this_process(NOON))

        with pytest.raises(AlreadyRunning) as refused:
            other.take(this_process(NOON.replace(hour=13)))

        assert refused.value.holder == str(this_process(NOON))
        assert lock.holder() == this_process(NOON)

    def test_a_lock_is_free_again_once_it_is_closed(self, lock: ProjectLock, other: ProjectLock) -> None:
        lock.take(this_process(NOON))
        lock.close()
        lock.close()
        assert other.holder() is None

        other.take(this_process(NOON.replace(hour=13)))

        assert other.holder() == this_process(NOON.replace(hour=13))

    def test_a_holder_that_is_killed_leaves_a_free_lock(
        self, open_lock: Callable[[], ProjectLock], lock: ProjectLock
    ) -> None:
        run_and_kill(hold_lock, open_lock, NOON, when=lambda: lock.holder() is not None)

        eventually(lambda: taken(lock, this_process(NOON)), what="the lock is free")
        assert lock.holder() == this_process(NOON)

    def test_of_several_that_take_it_at_once_one_has_it(self, open_lock: Callable[[], ProjectLock]) -> None:
        with ExitStack() as opened, ThreadPoolExecutor(5) as threads:
            locks = [opened.enter_context(closing(open_lock())) for _ in range(5)]

            results = threads.map(lambda lock: taken(lock, this_process(NOON)), locks)

            assert sorted(results) == [False] * 4 + [True]
