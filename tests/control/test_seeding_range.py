"""Range replay: that it equals a full replay where the codes agree outside, and what it does where they do not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest
from control.seeds import (
    END_S,
    PARTITIONS,
    START_S,
    Code,
    FuzzyViews,
    Seeds,
    code,
    named,
    paid,
)
from hypothesis import given
from hypothesis import strategies as st
from storages import KAFKA_AND_POSTGRES, SQLITE, examples, forget, on

from kappa.control import correcting
from kappa.control.counting import counting_of
from kappa.control.explaining import Outcome, explain_row
from kappa.errors import SeedRefused
from kappa.model.records import NewRecord
from kappa.ports import Seed

# They pass on Kafka and SQLite too, where they show nothing new and take minutes.
pytestmark = on(SQLITE, KAFKA_AND_POSTGRES)

RANGE = Seed("range", 1, START_S * 1_000_000, END_S * 1_000_000)

# Every kind of fold. In the new code of each, a note "x" does not count; other events count as before.
FOLDS = {
    "count": "n: int = count(Paid{where})",
    "total of Decimal": "n: Decimal = total(Paid.amount{where})",
    "total of int": "n: int = total(Paid.units{where})",
    "total of float": "n: float = total(Paid.weight{where})",
    "average of Decimal": "n: Decimal | None = average(Paid.amount{where})",
    "average of int": "n: float | None = average(Paid.units{where})",
    "average of float": "n: float | None = average(Paid.weight{where})",
    "minimum": "n: Decimal | None = minimum(Paid.amount{where})",
    "maximum": "n: int | None = maximum(Paid.units{where})",
    "first": "n: int | None = first(Paid.units{where})",
    "latest": "n: int | None = latest(Paid.units{where})",
    "distinct": "n: int = distinct(Paid.units{where})",
}
ADJUSTABLE = ("count", "total of Decimal", "total of int", "average of Decimal", "average of int")
BESIDE = """beside: int = count(Paid)
name: str = ""
@on(Named)
def named(self, event):
    if event.name == "boom" and self.name != "Bo":
        raise ValueError(event.name)
    self.name = {name}
"""
WHERE = ', where=Paid.note != "x"'


def pair(fold: str) -> tuple[Code, Code]:
    """Return code before and after a change of this kind."""
    if fold == "handler":
        return code(BESIDE.format(name="event.name")), code(BESIDE.format(name="event.name.replace('x', 'y')"))
    if fold == "handler that reads a fold":
        fields = "n: int = count(Paid{where})", BESIDE.format(name="f'{{event.name}} {{self.n}}'")
        return code(fields[0].format(where=""), fields[1]), code(fields[0].format(where=WHERE), fields[1])
    options = ', dedupe="1m"' if fold == "without duplicates" else ""
    text = FOLDS.get(fold, FOLDS["count"])
    beside = BESIDE.format(name="event.name")
    return tuple(code(text.format(where=where), beside, options=options) for where in ("", WHERE))


CHANGES = (*FOLDS, "handler", "handler that reads a fold", "without duplicates")


@st.composite
def records(draw: st.DrawFn, *, agreeing: bool) -> list[NewRecord]:
    """Events in no order of time, bad ones too. If the codes are to agree outside the range, "x" occurs only inside."""
    found = []
    for _ in range(draw(st.integers(0, 25))):
        user, at_s = draw(st.sampled_from("abcde")), draw(st.integers(0, 299))
        marked = draw(st.booleans()) and (START_S <= at_s < END_S or not agreeing)
        number, duplicate = draw(st.integers(0, 9)), draw(st.sampled_from(["", "", "e1", "e2"]))
        # An odd number that occurs nowhere else, so that a value that counts no more is missed.
        unit = 100 + number if marked else number
        match draw(st.integers(0, 8)):
            case 0:
                found.append(NewRecord(user.encode(), b'{"type":"Paid"', at_s * 1_000_000))
            case 1:
                found.append(NewRecord(None, paid(user, at_s).value, at_s * 1_000_000))
            case 2:
                found.append(named(user, at_s, "boom", event_id=duplicate))
            case 3 | 4:
                found.append(named(user, at_s, "xo" if marked else "Bo", event_id=duplicate))
            case _:
                fields = {"amount": f"{unit}.25", "units": unit, "weight": unit / 7, "event_id": duplicate}
                found.append(paid(user, at_s, note="x" if marked else "", **fields))
    return found


courses = st.fixed_dictionaries(
    {
        "change": st.sampled_from(CHANGES),
        "groups": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "ahead": st.lists(st.integers(0, 3), min_size=PARTITIONS, max_size=PARTITIONS),
    }
)


def seeds(folder: str, course: dict[str, object]) -> Seeds:
    return Seeds(Path(folder), *pair(course["change"]), seed=RANGE, groups=course["groups"])


def test_a_range_replay_equals_a_full_replay_where_the_codes_agree_outside(storage: str) -> None:
    @examples(60, storage)
    @given(before=records(agreeing=True), after=records(agreeing=True), course=courses)
    def law(before: list[NewRecord], after: list[NewRecord], course: dict[str, object]) -> None:
        with tempfile.TemporaryDirectory() as folder, seeds(folder, course) as it:
            it.append(before)
            it.fold(1)

            note = it.seed(store=FuzzyViews(it.store, ahead=course["ahead"]))
            it.append(after)
            it.fold(2)

            assert (it.rows(), sorted(it.dead_letters())) == (it.replayed()[0], sorted(it.replayed()[1]))
            assert "equal a full replay" in note or note == "unverified: there are no rows to compare"

    law()


def test_the_new_code_counts_inside_the_range_and_the_old_code_outside(storage: str) -> None:
    @examples(60, storage)
    @given(written=records(agreeing=False), course=courses)
    def law(written: list[NewRecord], course: dict[str, object]) -> None:
        with tempfile.TemporaryDirectory() as folder, seeds(folder, course) as it:
            it.append(written)
            it.fold(1)

            it.seed()

            rows, dead = it.by_turns(lambda at_s: 2 if START_S <= at_s < END_S else 1)
            assert (it.rows(), sorted(it.dead_letters())) == (rows, sorted(dead))

    law()


def told(it: Seeds, user: str) -> Outcome:
    """Return how the story of a row ends in version 2."""
    versions = it.control.versions("customer")
    counting = counting_of(versions[1], versions, it.code)
    *_, outcome = explain_row(versions[1], [user], store=it.store, log=it.log, counting=counting)
    return outcome


def test_the_story_of_a_row_counts_its_events_as_the_seed_did(storage: str) -> None:
    @examples(60, storage)
    @given(before=records(agreeing=False), after=records(agreeing=False), course=courses)
    def law(before: list[NewRecord], after: list[NewRecord], course: dict[str, object]) -> None:
        with tempfile.TemporaryDirectory() as folder, seeds(folder, course) as it:
            it.append(before)
            it.fold(1)
            it.seed(store=FuzzyViews(it.store, ahead=course["ahead"]))
            it.append(after)
            it.fold(2)

            for user in it.rows():
                outcome = told(it, user)

                assert (outcome.agrees, outcome.exact) == (True, True), outcome

    law()


def test_the_story_is_that_of_a_full_replay_if_the_code_of_the_base_is_gone(tmp_path: Path, storage: str) -> None:
    with Seeds(tmp_path, *pair("count"), seed=RANGE) as it:
        it.append([paid("ana", 50, note="x"), paid("ana", 150, note="x")])
        it.fold(1)
        it.seed()
        it.forget_code(1)

        outcome = told(it, "ana")

        assert (outcome.agrees, outcome.exact, outcome.told["n"], outcome.stored["n"]) == (False, False, 0, 1)
        assert "differs from the stored row" in outcome.note


def test_a_sample_of_a_diff_names_the_first_event_that_counts_otherwise(tmp_path: Path, storage: str) -> None:
    with Seeds(tmp_path, *pair("count"), seed=RANGE) as it:
        it.append([paid("ana", 50, note="x"), paid("ana", 120, note="x"), paid("ana", 150)])
        it.fold(1)
        it.seed()

        [sample] = it.diff().samples

        assert (sample.left, sample.right) == ({"n": 3}, {"n": 2})
        assert (sample.not_explained, sample.cause.number) == ("", 2)
        assert (sample.cause.left, sample.cause.right) == ({"n": 2}, {"n": 1})


def test_a_sample_that_the_codes_do_not_account_for_is_not_explained(tmp_path: Path, storage: str) -> None:
    with Seeds(tmp_path, *pair("count"), seed=RANGE) as it:
        it.append([paid("ana", 50, note="x"), paid("ana", 120, note="x")])
        it.fold(1)
        it.seed()

        [sample] = it.diff(base_known=False).samples

        assert (sample.left, sample.right, sample.cause) == ({"n": 2}, {"n": 1}, None)
        assert sample.not_explained == (
            "v2 starts from a seed, made of v1, and its row is not what its own code makes of the events"
        )


def test_keys_that_appear_only_in_the_range_and_keys_whose_every_event_goes(tmp_path: Path, storage: str) -> None:
    old = code("n: int = count(Paid)", "limit: int = 0\n@on(Named)\ndef named(self, event):\n    int(event.name)")
    new = code(
        "n: int = count(Paid)", "limit: int = 0\n@on(Named)\ndef named(self, event):\n    float('x' + event.name)"
    )
    with Seeds(tmp_path, old, new, seed=RANGE) as it:
        it.append([named("gone", 150, "1"), named("new", 150, "nan")])  # float("xnan") is no number either
        it.append([named("late", 250, "2"), named("odd", 50, "three")])
        it.fold(1)

        it.seed()

        assert sorted(it.rows(1)) == ["gone", "late"]
        assert sorted(it.rows()) == ["late"]
        assert len(it.dead_letters()) == 3


def test_the_note_says_that_the_codes_do_not_agree_outside_the_range(tmp_path: Path, storage: str) -> None:
    with Seeds(tmp_path, *pair("total of int"), seed=RANGE) as it:
        it.append([paid("ana", 50, units=3, note="x"), paid("bob", 150, units=4, note="x")])
        it.fold(1)

        assert it.seed() == (
            "1 of 2 sampled keys differ from a full replay: the versions do not agree outside the range. "
            "The first is ana: n is 3, and 0 in the replay"
        )


def test_an_adjusted_sum_that_does_not_fit_is_folded_again(tmp_path: Path, storage: str) -> None:
    old, new = code("n: int = total(Paid.units)"), code("n: int = total(Paid.units * 2)")
    with Seeds(tmp_path, old, new, seed=RANGE) as it:
        it.append([paid("ana", 50, units=2**62), paid("ana", 150, units=2**61)])
        it.fold(1)

        it.seed()

        assert it.rows()["ana"]["n"] == 2**62
        assert len(it.dead_letters()) == 1


def test_lost_history_is_refused_by_its_offsets(tmp_path: Path, storage: str) -> None:
    with Seeds(tmp_path, *pair("count"), seed=RANGE, partitions=1) as it:
        for at_s in (1, 2, 150):
            it.append([paid("ana", at_s)])
        it.fold(1)
        forget(it.log, b"ana", before=1)

        with pytest.raises(SeedRefused, match=r"the log no longer holds offsets 0 to 0 of events\[0\]"):
            it.seed()
        assert it.rows() == {}


def test_rows_that_came_from_a_seed_are_not_corrected(tmp_path: Path, storage: str) -> None:
    with Seeds(tmp_path, *pair("count"), seed=RANGE) as it:
        it.versions[1] = msgspec.structs.replace(it.versions[1], seed=Seed("migration", 7))

        with pytest.raises(SeedRefused, match="v1 started from a seed of v7"):
            it.seed()


def test_too_many_affected_keys_are_refused(tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correcting, "AFFECTED_KEYS_MAX", 3)
    with Seeds(tmp_path, *pair("count"), seed=RANGE) as it:
        it.append([paid(user, 150) for user in "abcd"])
        it.fold(1)

        with pytest.raises(SeedRefused, match="more than 3 keys in one partition group"):
            it.seed()
        assert not it.seeded


def test_an_event_that_only_the_new_code_cannot_read_is_set_aside_and_not_counted(tmp_path: Path, storage: str) -> None:
    """Only the new code looks at the note."""
    with Seeds(tmp_path, *pair("count"), seed=RANGE) as it:
        it.append([paid("ana", 50), paid("ana", 150, note=7), paid("ana", 160)])
        it.fold(1)

        it.seed()

        assert it.rows()["ana"]["n"] == 2
        assert len(it.dead_letters()) == 1
