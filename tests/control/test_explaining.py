"""The story of a row: each event and what it changed, and at the end the row as it is stored."""

from __future__ import annotations

import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from control.deployed import AT, Deployed
from hypothesis import given
from hypothesis import strategies as st
from storages import append_in_transactions, examples, forget

from kappa import View, count
from kappa.control.advance import Advance
from kappa.control.code import ViewCode
from kappa.control.counting import counting_of
from kappa.control.explaining import Happening, Outcome, explain_row, version_to_explain
from kappa.errors import HistoryLost, InputError, VersionNotFound, ViewNotFound
from kappa.model.records import Changes, NewRecord, RowChange
from kappa.model.schema import encode_key
from kappa.ports import Deployment, HistoryEntry, Release, Seed
from kappa.testing.accounts import EVENTS, Deposited, record


def explained(made: Deployed, *key: str, number: int = 1, last: int | None = None) -> tuple[list[Happening], Outcome]:
    version = made.versions[number]
    told = [
        each
        for each in explain_row(
            version, key, store=made.store, log=made.log, counting=counting_of(version, (), made.code), last=last
        )
        if not isinstance(each, Advance)
    ]
    return told[:-1], told[-1]


@pytest.fixture
def made(tmp_path: Path, storage: str):
    """Ana's account: two deposits, a name, a name that is refused, and something that version 1 does not know."""
    kinds = [(0, 0), (0, 3), (4, 5), (5, 6), (6, 7)]
    records = [record(kind, "ana", number) for kind, number in kinds]
    with Deployed(tmp_path, [*records, record(0, "bob", 1)]) as made:
        made.fold(1)
        made.fold(2)
        yield made


def test_each_event_shows_the_columns_that_it_changed(made) -> None:
    happenings, _ = explained(made, "ana")

    first, second, third, fourth = happenings
    assert (first.number, first.type, first.changed["deposits"]) == (1, "Deposited", (None, 1))
    assert first.changed["names"] == (None, [])
    assert second.changed["balance"] == (Decimal("0.25"), Decimal("3.50"))
    assert "notes" not in second.changed
    assert third.changed == {"names": ([], ["name 5"])}
    assert (fourth.changed, fourth.number) == ({}, 4)
    assert fourth.reason.startswith("renamed raised ValueError: no such name")


def test_the_story_ends_with_the_stored_row(made) -> None:
    _, outcome = explained(made, "ana")

    assert (outcome.events, outcome.dead_letters, outcome.passed_over) == (4, 1, 1)
    assert outcome.told == outcome.stored
    assert outcome.stored["balance"] == Decimal("3.50")
    assert (outcome.key, outcome.agrees, outcome.note) == (("ana",), True, "")


def test_a_version_tells_it_by_its_own_code(made) -> None:
    happenings, outcome = explained(made, "ana", number=2)

    assert [happening.reason for happening in happenings] == [""] * 5
    assert outcome.told["names"] == ["name 5", "boom"]
    assert outcome.agrees


def test_only_the_last_events_may_be_asked_for(made) -> None:
    happenings, outcome = explained(made, "ana", last=2)

    assert [happening.number for happening in happenings] == [3, 4]
    assert outcome.events == 4


events = st.tuples(st.integers(0, 8), st.sampled_from("abc"), st.integers(0, 20))


def test_the_last_value_told_is_the_row_wherever_the_version_is(storage: str) -> None:
    @examples(40, storage)
    @given(written=st.lists(events, max_size=40), tenths=st.integers(0, 10))
    def law(written, tenths: int) -> None:
        with tempfile.TemporaryDirectory() as folder, Deployed(Path(folder)) as made:
            append_in_transactions(made.log, [record(*each) for each in written])
            made.fold(1, {partition: end * tenths // 10 for partition, end in made.log.ends().items()})
            rows = {row.columns[0]: row for row in made.store.scan(made.versions[1].table)}
            letters = Counter(
                letter.key.decode() for letter in made.store.dead_letters(made.versions[1].table, limit=1_000)
            )
            for key in rows:
                _, outcome = explained(made, key)

                assert outcome.agrees
                assert outcome.told["account"] == key
                assert outcome.dead_letters == letters[key]

    law()


def test_a_stored_row_that_the_events_do_not_make_is_said_loudly(made) -> None:
    table = made.versions[1].table
    [row] = [each for each in made.store.scan(table) if each.columns[0] == "ana"]
    made.store.drop(table)
    made.store.create(table)
    with made.store.writer(table, 0, epoch=1) as writer:
        columns = tuple(7 if value == 2 else value for value in row.columns)
        writer.commit(Changes([RowChange(b"ana", columns, row.state, row.partition, row.offset)]), {})

    _, outcome = explained(made, "ana")

    assert not outcome.agrees
    assert outcome.note.startswith("THE STORED ROW IS NOT WHAT THESE EVENTS MAKE")


def test_of_a_version_with_a_seed_it_says_what_its_rows_are_made_of(made) -> None:
    seeded = msgspec.structs.replace(made.versions[1], seed=Seed("migration", 3))
    made.versions[1] = seeded

    _, outcome = explained(made, "ana")

    assert outcome.note == (
        "v1 starts from a seed, made of the rows of v3; its own code has folded only what came after the seed. "
        "A replay of all events by its code, as told here, equals the stored row"
    )


def test_a_key_of_several_fields_is_given_as_several_words(tmp_path: Path) -> None:
    class Noted(View, key=("account", "note")):
        deposits: int = count(Deposited)

    key = encode_key(("ana", "n1"))
    value = record(0, "ana", 1).value
    with Deployed(tmp_path, [NewRecord(key, value, 0)] * 3, codes={1: ViewCode(Noted, EVENTS)}) as made:
        made.fold(1)
        happenings, outcome = explained(made, "ana", "n1")

        assert [happening.changed["deposits"] for happening in happenings] == [(None, 1), (1, 2), (2, 3)]
        assert (outcome.key, outcome.agrees) == (("ana", "n1"), True)
        with pytest.raises(InputError, match="has 2 key columns, got 1"):
            explained(made, "ana")


def test_a_key_without_events_is_refused(made) -> None:
    with pytest.raises(InputError, match="the log has no event with this key before offset"):
        explained(made, "eve")


def test_history_that_has_left_the_log_is_explained(tmp_path: Path, storage: str) -> None:
    with Deployed(tmp_path, [record(0, "ana", 0), record(0, "ana", 1)]) as made:
        made.log.append([record(0, "ana", 2)])
        made.fold(1)
        forget(made.log, b"ana", before=2)

        with pytest.raises(HistoryLost, match="the log starts at 2") as raised:
            explained(made, "ana")

    assert raised.value.next_step == "the row itself can be read: kappa get account ...; its first events are gone"


def test_by_default_the_primary_is_explained(made) -> None:
    control = made.control
    bundle = control.store_bundle(b"code").id
    for number in (1, 2):
        control.deploy(Deployment(made.versions[number].table, f"f{number}", {}, bundle))
    with pytest.raises(ViewNotFound):
        version_to_explain("account", None, control=control)
    entry = HistoryEntry(id="1", at=AT, actor="ana", action="promote")
    control.change_release(Release(1, {"account": 2}), expected_revision=0, entry=entry)

    assert version_to_explain("account", None, control=control).table.version == 2
    assert version_to_explain("account", 1, control=control).table.version == 1
    with pytest.raises(VersionNotFound, match="account v9 does not exist"):
        version_to_explain("account", 9, control=control)
    control.retire("account", 1)
    control.dropped("account", 1)
    with pytest.raises(VersionNotFound, match="its rows are gone"):
        version_to_explain("account", 1, control=control)
