"""Making a seed is killed anywhere, or done twice at a time: it ends with the same rows, or with none that count."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control.crashing import Crashes
from control.seeds import Seeds, code, paid
from storages import KAFKA_AND_POSTGRES, SQLITE

from kappa.control import seed_writer
from kappa.errors import Fenced
from kappa.ports import Seed

MIGRATION = Seed("migration", 1)
RANGE = Seed("range", 1, 100_000_000, 200_000_000)
OLD = code("n: int = count(Paid)", "last: str | None = latest(Paid.note)")
NEW = {
    "migration": code("n: int = count(Paid)", "latest_note: str | None = latest(Paid.note)", "level: int = 1"),
    "range, adjusted": code("n: int = count(Paid, where=Paid.note != 'x')", "last: str | None = latest(Paid.note)"),
    "range, folded again": code(
        "n: int = count(Paid, where=Paid.note != 'x')", "last: str | None = latest(Paid.note, where=Paid.units > 1)"
    ),
}
EVENTS = [paid(f"user {n}", 13 * n % 300, units=n, note="x" if n % 3 else "y") for n in range(40)]
EVENTS += [paid(f"user {n}", 150, units="many") for n in range(3)]


@pytest.fixture(autouse=True)
def _many_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed_writer, "BATCH_ROWS_MAX", 4)


class Killed:
    """Whatever is written, the n-th time the process is gone, before or after it is durable."""

    def __init__(self, *, at: int, durable: bool) -> None:
        self._left, self._durable = at, durable

    def wrap(self, part: Any) -> Any:
        return _Wrapped(part, self)

    def call(self, write: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._durable:
            raise Crashes
        result = write(*args, **options)
        if self._left == 0:
            if hasattr(result, "close"):  # a writer, whose connection ends with the process
                result.close()
            raise Crashes
        return result


class _Wrapped:
    """A store, or one of its writers."""

    def __init__(self, part: Any, killed: Killed) -> None:
        self._part, self._killed = part, killed

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        if name == "writer":
            return lambda *args, **options: self._killed.wrap(self._killed.call(method, *args, **options))
        if name in ("create", "commit", "next_epoch", "seeded"):
            return lambda *args, **options: self._killed.call(method, *args, **options)
        return method

    def __enter__(self) -> Any:
        self._part.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._part.__exit__(*error)


def seeds(folder: Path, kind: str) -> Seeds:
    seed = MIGRATION if kind == "migration" else RANGE
    it = Seeds(folder, OLD, NEW[kind], seed=seed, groups=(2, 3))
    it.append(EVENTS)
    it.fold(1)
    return it


@pytest.mark.parametrize("durable", [False, True], ids=["before it is durable", "after it is durable"])
@pytest.mark.parametrize(
    ("storage", "kind"),
    [*((SQLITE, kind) for kind in NEW), (KAFKA_AND_POSTGRES, "range, folded again")],
    indirect=["storage"],
)
def test_a_seed_that_was_interrupted_anywhere_ends_with_the_same_rows(
    tmp_path: Path, storage: str, kind: str, durable: bool
) -> None:
    with seeds(tmp_path / "undisturbed", kind) as undisturbed:
        undisturbed.seed()
        expected = undisturbed.rows(), undisturbed.dead_letters()

    with seeds(tmp_path / "disturbed", kind) as it:
        for at in itertools.count(1):
            killed = Killed(at=at, durable=durable)
            try:
                it.seed(store=killed.wrap(it.store), control=killed.wrap(it.control))
            except Crashes:
                assert it.seeded <= durable
                continue
            break

        assert at > 5
        assert it.seeded
        assert (it.rows(), it.dead_letters()) == expected


def test_the_base_may_fold_on_between_two_attempts(tmp_path: Path, storage: str) -> None:
    with seeds(tmp_path, "range, folded again") as it:
        killed = Killed(at=16, durable=True)
        with pytest.raises(Crashes):
            it.seed(store=killed.wrap(it.store), control=killed.wrap(it.control))
        assert it.rows()
        it.append([paid("user 1", 150, note="x"), paid("user 2", 250, note="y")])
        it.fold(1)

        it.seed()

        assert it.rows() == it.by_turns(lambda at_s: 2 if 100 <= at_s < 200 else 1)[0]


def test_a_complete_seed_is_left_alone(tmp_path: Path, storage: str) -> None:
    with seeds(tmp_path, "migration") as it:
        note = it.seed()
        it.append([paid("new", 1)])
        it.fold(1)

        assert it.seed() == note
        assert "new" not in it.rows()


def test_of_two_that_make_the_same_seed_the_later_wins(tmp_path: Path, storage: str) -> None:
    with seeds(tmp_path, "migration") as it:
        first = TakenOver(it)

        with pytest.raises(Fenced):
            it.seed(control=first)

        assert it.seeded
        assert set(it.rows()) == set(it.rows(1))


class TakenOver:
    """A control store: when everything is written, somebody else makes the same seed and completes it first."""

    def __init__(self, it: Seeds) -> None:
        self._it = it
        self._given = 0

    def next_epoch(self, table: Any, group: int) -> int:
        epoch = self._it.control.next_epoch(table, group)
        self._given += 1
        if self._given == table.group_count:
            self._it.seed()
        return epoch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._it.control, name)
