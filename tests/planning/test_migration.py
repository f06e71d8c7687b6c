"""When a version can start from another version's rows, and why else it must replay."""

from __future__ import annotations

import pytest
from control.seeds import Code, code

from kappa.planning.changes import compare_parts
from kappa.planning.migration import Migration, migration_between

N = "n: int = count(Paid)"
MEAN = "mean: Decimal | None = average(Paid.amount)"
HANDLER = 'name: str = ""\n@on(Named)\ndef named(self, event):\n    {body}'
NAMED = HANDLER.format(body="self.name = event.name")


def migration(old: Code, new: Code, *, dead_letters: int = 0) -> Migration | str:
    return migration_between(
        old.view.view,
        new.view.view,
        changes=compare_parts(old.parts, new.parts),
        primary=1,
        dead_letters=dead_letters,
    )


@pytest.mark.parametrize(
    ("old", "new", "explanation"),
    [
        ([N], [N, "level: int = 1"], "level with its default"),
        ([N], [N, "a: int = 1", "_b: str = ''"], "_b, a with their defaults"),
        ([N, MEAN], [N, MEAN.replace("mean", "typical")], "typical is taken from mean"),
        ([N, MEAN, "level: int = 1"], [N], "level, mean left out"),
        ([N, MEAN], [MEAN, N], "fields change places"),
        ([N], [N, "also: int = count(Paid)"], "also is taken from n"),
        ([N, NAMED], [NAMED, "level: int = 1", N], "level with its default"),
    ],
)
def test_what_provably_equals_a_replay_is_offered(old: list[str], new: list[str], explanation: str) -> None:
    found = migration(code(*old), code(*new))

    assert isinstance(found, Migration)
    assert found.migrator is None
    assert found.explanation == f"the rows are brought into a new shape, which equals a replay: {explanation}"


def test_a_renamed_average_keeps_its_hidden_state() -> None:
    found = migration(code(MEAN), code(MEAN.replace("mean", "typical")))

    assert isinstance(found, Migration)
    assert found.sources["_typical_total"] == "_mean_total"
    assert found.sources["_typical_count"] == "_mean_count"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ([N], [N, MEAN], "fold mean is new: its history is in the log"),
        ([N], ["n: int = count(Paid, where=Paid.units > 1)"], "fold n has changed: its history is in the log"),
        ([N, "a: int = 1"], [N, "a: int = 2"], "field a has changed: its type, its default or what it is"),
        ([N, "m: int = count(Named)"], [N], "event Named is gone: what it gives is known from a replay only"),
        ([N, NAMED], [N, HANDLER.format(body="self.name = event.name * 2")], "code shop.Customer.named has changed"),
        (
            [N, HANDLER.format(body="setattr(self, event.name, 1)")],
            [N, HANDLER.format(body="setattr(self, event.name, 1)"), "level: int = 0"],
            "handler named may use any field, so perhaps level",
        ),
        (
            [N, "m: int = count(Paid, where=Paid.units > 1)", HANDLER.format(body="self.name = str(self.m)")],
            [N, HANDLER.format(body="self.name = str(self.m)")],
            "handler named may use any field, so perhaps m",
        ),
    ],
)
def test_what_needs_the_log_is_refused_by_the_part_that_needs_it(old: list[str], new: list[str], reason: str) -> None:
    found = migration(code(*old), code(*new))

    assert isinstance(found, str)
    assert found.startswith(reason)


def test_a_fold_that_goes_may_have_been_the_reason_for_dead_letters() -> None:
    found = migration(code(N, MEAN), code(N), dead_letters=2)

    assert found == "fold mean is gone, and might be why 2 dead letters could not be folded"
    assert isinstance(migration(code(N, MEAN), code(MEAN, N), dead_letters=2), Migration)


MIGRATE = "@migrate(from_version={})\ndef brought_over(old):\n    return {{}}"


def test_what_the_author_declares_for_this_version_goes() -> None:
    found = migration(code(N), code(MEAN, MIGRATE.format(1)))

    assert isinstance(found, Migration)
    assert found.migrator is not None
    assert found.explanation == "brought_over makes the rows from those of v1, as its author asserts"


def test_what_the_author_declares_for_another_version_does_not_count() -> None:
    assert migration(code(N), code(MEAN, MIGRATE.format(2))) == "fold mean is new: its history is in the log"


def test_a_migration_does_not_count_as_code_that_folds() -> None:
    assert code(N).parts == code(N, MIGRATE.format(1)).parts
