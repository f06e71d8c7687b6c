"""A diff is exact: it says of every key what a comparison by hand says, whatever moves meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec
import pytest
from control.deployed import AT, CODES, PARTITIONS, Deployed, replayed
from hypothesis import given
from hypothesis import strategies as st
from storages import append_in_transactions, examples, forget

from kappa import View, count
from kappa.control import diffing
from kappa.control.code import ViewCode
from kappa.control.counting import counting_of
from kappa.control.diffing import diff, diff_and_keep, versions_to_compare
from kappa.control.settling import Pair, Settling, meet
from kappa.errors import BundleDamaged, InputError, VersionNotFound, ViewNotFound
from kappa.model.partitioning import partition_of
from kappa.model.records import Progress
from kappa.model.schema import ViewTable, encode_key
from kappa.model.views import view_spec
from kappa.planning.diffs import DiffReport
from kappa.planning.tally import CommonColumns
from kappa.ports import Deployment, HistoryEntry, Release, StoredRow, Version
from kappa.testing.accounts import EVENTS, Account, Deposited, record

Written = list[tuple[int, str, int]]

events = st.tuples(st.integers(0, 8), st.sampled_from("abcdefghij"), st.integers(0, 20))
written_events = st.lists(events, max_size=80)
shares = st.lists(st.integers(0, 10), min_size=PARTITIONS, max_size=PARTITIONS)


def compare(
    deployed: Deployed,
    left: int = 1,
    right: int = 2,
    *,
    between: Callable[[], object] = lambda: None,
    samples: int = 1_000,
    keys_about: int | None = None,
) -> DiffReport:
    """Run a diff to its end, calling `between` whenever it says how far it has come."""
    course = diff(
        deployed.versions[left],
        deployed.versions[right],
        store=deployed.store,
        log=deployed.log,
        load_counting=partial(counting_of, versions=tuple(deployed.versions.values()), load_code=deployed.code),
        now=lambda: AT,
        samples_max=samples,
        keys_about=keys_about,
    )
    while True:
        try:
            next(course)
        except StopIteration as done:
            return done.value
        between()


def written_in(folder: str, written: Written) -> Deployed:
    """Return versions in a folder, and a log with these events, appended as ingestion does."""
    made = Deployed(Path(folder))
    append_in_transactions(made.log, [record(*each) for each in written])
    return made


def position(deployed: Deployed, tenths: list[int]) -> dict[int, int]:
    return {partition: end * tenths[partition] // 10 for partition, end in deployed.log.ends().items()}


def stored_offsets(deployed: Deployed, number: int) -> dict[bytes, int]:
    table = deployed.versions[number].table
    return {encode_key(row.columns[: len(table.key)]): row.offset for row in deployed.store.scan(table)}


def by_hand(deployed: Deployed, key: bytes, end: int) -> str:
    """Return how a key's rows compare when both codes fold the log's first records from scratch."""
    partition = partition_of(key, PARTITIONS)
    left, right = (replayed(code, deployed, partition, end, {key}).get(key) for code in CODES.values())
    if left is None or right is None:
        return "nothing" if left is right else "only-left" if right is None else "only-right"
    common = CommonColumns(deployed.versions[1].table, deployed.versions[2].table)
    return "changed" if common.changed(left[0], right[0]) else "equal"


def test_a_diff_of_versions_anywhere_equals_a_comparison_by_hand(storage: str) -> None:
    """Every key is compared at the lesser position, or where the last of its events is that either row holds."""

    @examples(80, storage)
    @given(written=written_events, first=shares, second=shares)
    def law(written: Written, first, second) -> None:
        with tempfile.TemporaryDirectory() as folder, written_in(folder, written) as made:
            made.fold(1, position(made, first))
            made.fold(2, position(made, second))
            lesser = {
                each: min(position(made, first)[each], position(made, second)[each]) for each in range(PARTITIONS)
            }
            offsets = [stored_offsets(made, number) for number in (1, 2)]
            expected = {
                key: by_hand(
                    made, key, max(lesser[partition_of(key, PARTITIONS)], *(o.get(key, -1) + 1 for o in offsets))
                )
                for key in offsets[0] | offsets[1]
            }

            report = compare(made)

            assert report.position == lesser
            assert (report.unverified, report.complete, report.notes) == (0, True, ())
            verdicts = list(expected.values())
            assert (report.equal, report.changed, report.only_left, report.only_right) == tuple(
                verdicts.count(each) for each in ("equal", "changed", "only-left", "only-right")
            )
            found = {encode_key(sample.key): sample.kind for sample in report.samples}
            assert found == {key: verdict for key, verdict in expected.items() if verdict != "equal"}

    law()


def test_a_diff_of_versions_that_consume_compares_every_key_once_where_both_rows_are_true(storage: str) -> None:
    @examples(60, storage)
    @given(
        written=written_events,
        first=shares,
        second=shares,
        steps=st.lists(st.tuples(shares, shares), max_size=6),
        room=st.sampled_from([0, 3, 1_000]),
    )
    def law(written: Written, first, second, steps, room: int) -> None:
        with tempfile.TemporaryDirectory() as folder, written_in(folder, written) as made:
            made.fold(1, position(made, first))
            made.fold(2, position(made, second))
            at_first = stored_offsets(made, 1).keys() | stored_offsets(made, 2).keys()
            course = iter(steps)

            def consume() -> None:
                for number, tenths in zip((1, 2), next(course, ()), strict=False):
                    made.fold(number, position(made, tenths))

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(diffing, "_BATCH_ROWS", 2)
                patch.setattr(diffing, "_ROUND_KEYS", 2)
                patch.setattr(diffing, "_BOTH_KEYS_MAX", room)
                report = compare(made, between=consume)

            at_last = stored_offsets(made, 1).keys() | stored_offsets(made, 2).keys()
            assert report.unverified == 0
            assert len(at_first) <= report.compared <= len(at_last)
            sampled = {encode_key(sample.key): sample for sample in report.samples}
            assert len(sampled) == len(report.samples) == report.changed + report.only_left + report.only_right
            for key, sample in sampled.items():
                assert by_hand(made, key, sample.end) == sample.kind
            ends = made.log.ends()
            for key in at_first - sampled.keys():
                partition = partition_of(key, PARTITIONS)
                reached = range(report.position[partition], ends[partition] + 1)
                assert any(by_hand(made, key, end) == "equal" for end in reached), key

    law()


def test_a_row_that_is_folded_forward_is_the_row_that_the_version_will_have(storage: str) -> None:
    @examples(60, storage)
    @given(written=written_events, tenths=shares, end=shares)
    def law(written: Written, tenths, end) -> None:
        with tempfile.TemporaryDirectory() as folder, written_in(folder, written) as made:
            made.fold(1, position(made, end))
            made.fold(2, position(made, tenths))
            settling_ = Settling(
                *made.versions.values(), store=made.store, log=made.log, load_code=made.code, records_max=1_000
            )
            keys = tuple(stored_offsets(made, 1).keys() | stored_offsets(made, 2).keys())
            pairs = settling_.settle(keys)

            assert {pair.key for pair in pairs} == set(keys)
            for pair in pairs:
                partition = partition_of(pair.key, PARTITIONS)
                for code, row in zip(CODES.values(), (pair.left, pair.right), strict=True):
                    expected = replayed(code, made, partition, pair.end, {pair.key}).get(pair.key)
                    assert (None if row is None else (row.columns, row.offset)) == expected

    law()


def test_rows_meet_where_both_are_true() -> None:
    """A row is true behind its last event, and on to where its version has folded; a missing one from the start."""

    def row(offset: int) -> StoredRow:
        return StoredRow((), b"", 0, offset, 0, None)

    def met(left: StoredRow | None, right: StoredRow | None, *progress: int) -> bool:
        return meet(Pair(b"ana", left, right), *(Progress(each) for each in progress))

    assert met(row(3), row(7), 8, 8)
    assert met(row(3), None, 4, 4)
    assert met(row(9), row(9), 4, 4)  # both moved since progress was read, to the same event
    assert not met(row(3), row(9), 4, 10)  # the left version may have the event at 9, or not
    assert not met(None, row(9), 4, 10)


def test_a_row_is_folded_forward_to_the_other_one_and_no_further(tmp_path: Path, storage: str) -> None:
    """Version 1 sets the name aside and stays where it was; version 2 would take it."""
    kinds = [(0, "ana"), (0, "bob"), (5, "ana"), (0, "bob")]
    records = [record(kind, account, 2 * at) for at, (kind, account) in enumerate(kinds)]
    with Deployed(tmp_path, records, partitions=1) as made:
        made.fold(1)
        report = compare(made)

    assert (report.equal, report.compared, report.complete) == (2, 2, True)


def test_a_version_does_not_differ_from_itself(storage: str) -> None:
    @examples(20, storage)
    @given(written=written_events)
    def law(written: Written) -> None:
        with tempfile.TemporaryDirectory() as folder, written_in(folder, written) as made:
            made.fold(1)

            report = compare(made, 1, 1)

        assert (report.changed, report.only_left, report.only_right, report.unverified) == (0, 0, 0, 0)
        assert report.compared == report.equal == len({key for kind, key, _ in written if kind in {0, 1, 2, 3, 4}})
        assert (report.samples, report.added, report.removed, report.complete) == ((), (), (), True)

    law()


def deposits(*amounts: int, account: str = "ana") -> list:
    """Return deposits: kind 1 has the note "n0", "n1" or "n2", by its number."""
    return [record(0, account, number) for number in amounts]


@pytest.fixture
def folded(tmp_path: Path, storage: str):
    """Return a function that writes records and folds both versions to the end."""
    opened = []

    def fold(records, *, codes: Mapping[int, ViewCode] = CODES) -> Deployed:
        opened.append(Deployed(tmp_path / str(len(opened)), records, codes=codes))
        for number in opened[-1].versions:
            opened[-1].fold(number)
        return opened[-1]

    yield fold
    for each in opened:
        each.close()


def test_a_report_counts_by_column_and_names_the_columns_that_only_one_version_has(folded) -> None:
    report = compare(folded([*deposits(0, 1, 2), *deposits(3, account="bob"), record(6, "cyd", 1)]))

    assert (report.equal, report.changed, report.only_left, report.only_right) == (1, 1, 0, 1)
    changed = {column.name: column for column in report.columns if column.changed}
    assert list(changed) == ["balance"]
    assert (changed["balance"].lowered, changed["balance"].raised, changed["balance"].largest) == (1, 0, 1.25)
    assert (report.added, report.removed) == (("unheard",), ("mean",))


def test_a_sample_names_the_first_event_after_which_the_rows_differ(folded) -> None:
    [sample] = compare(folded(deposits(0, 2, 1, 3))).samples

    assert (sample.kind, sample.key) == ("changed", ("ana",))
    assert (sample.left, sample.right) == ({"balance": Decimal("7.00")}, {"balance": Decimal("5.75")})
    cause = sample.cause
    assert (cause.offset, cause.number, cause.type, cause.event["note"]) == (2, 3, "Deposited", "n1")
    assert (cause.before, cause.left, cause.right) == (
        {"balance": Decimal("2.50")},
        {"balance": Decimal("3.75")},
        {"balance": Decimal("2.50")},
    )


def test_a_cause_says_which_version_set_the_event_aside_and_why(folded) -> None:
    [sample] = compare(folded([*deposits(0), record(5, "ana", 1)])).samples

    assert (sample.cause.left, sample.cause.right) == ({"names": []}, {"names": ["boom"]})
    assert sample.cause.left_reason.startswith("renamed raised ValueError: no such name")
    assert sample.cause.right_reason == ""


def test_what_only_the_right_version_sets_aside_counts_up_to_the_position_of_both(folded) -> None:
    refused = record(5, "ana", 1)
    deployed = folded([*deposits(0), refused])
    assert [compare(deployed, *versions).dead_right_only for versions in ((1, 2), (2, 1), (1, 1))] == [0, 1, 0]

    deployed.log.append([refused])
    deployed.fold(1)

    report = compare(deployed, 2, 1)
    assert (report.dead_right, report.dead_right_only) == (2, 1)


def test_samples_are_those_that_changed_most_and_only_the_first_are_explained(folded) -> None:
    """`n1` is left out by version 2: the account with the larger share of it changes more."""
    records = [each for at in range(6) for each in deposits(1, 3 + 3 * at, account=f"user{at}")]

    samples = compare(folded(records), samples=4).samples

    assert [sample.key for sample in samples] == [("user0",), ("user1",), ("user2",), ("user3",)]
    assert [sample.cause is not None for sample in samples] == [True, True, True, False]


def test_numbers_compare_by_value_and_json_by_meaning() -> None:
    class Before(View, key="account"):
        n: int = count(Deposited)
        data: dict[str, int] = {}  # noqa: RUF012

    class After(View, key="account"):
        data: dict[str, int] = {}  # noqa: RUF012
        n: float = 0.0
        seen: int = count(Deposited)

    specs = [view_spec(view) for view in (Before, After)]
    common = CommonColumns(*(ViewTable("account", 1, each.key_columns, each.columns, "events", 1, 1) for each in specs))

    assert common.changed(("ana", 1, '{"a":1,"b":2}'), ("ana", '{"b":2,"a":1}', 1.0, 0)) == []
    [(column, *values)] = common.changed(("ana", 1, '{"a":1}'), ("ana", '{"a":1}', 1.5, 0))
    assert (column.name, values) == ("n", [1, 1.5])


def test_a_key_that_is_too_far_ahead_is_unverified_and_the_report_incomplete(folded, monkeypatch) -> None:
    made = folded(deposits(0))
    made.log.append(deposits(*range(1, 60)))
    made.fold(1)
    monkeypatch.setattr(diffing, "_SETTLE_RECORDS_MAX", 20)

    report = compare(made)

    assert (report.compared, report.unverified, report.complete) == (0, 1, False)
    assert report.notes == ("one version is too far ahead of the other: some keys wait until they are closer",)


def test_a_key_that_appears_is_unverified_when_there_was_no_room_to_remember_the_first_pass(
    folded, monkeypatch
) -> None:
    """Only version 2 knows Cyd when the first pass takes her; version 1 has her row, too, when the second one comes."""
    made = folded([record(6, "cyd", 0), *[record(6, f"user{at}", 0) for at in range(3)]])
    made.log.append([record(0, "cyd", 1)])
    monkeypatch.setattr(diffing, "_ONLY_RIGHT_KEYS_MAX", 0)

    report = compare(made, between=lambda: made.fold(1))

    assert (report.only_right, report.unverified, report.complete) == (4, 1, False)


def test_code_that_cannot_be_loaded_leaves_moved_keys_unverified_and_samples_unexplained(folded) -> None:
    made = folded([*deposits(0, 1), record(0, "bob", 0)])
    made.log.append([record(0, "bob", 2)])
    made.fold(1)

    def damaged(version: Version) -> ViewCode:
        raise BundleDamaged(bundle="b" * 64, reason="its hash differs")

    made.code = damaged
    report = compare(made)

    assert (report.changed, report.unverified, report.complete) == (1, 1, False)
    assert report.notes == (report.samples[0].not_explained,) == ("bundle bbbbbbbbbbbb is damaged: its hash differs",)


def test_history_that_has_left_the_log_is_said(folded) -> None:
    made = folded(deposits(0, 1))
    made.log.append(deposits(2))
    forget(made.log, b"ana", before=2)

    [sample] = compare(made).samples

    assert sample.cause is None
    assert sample.not_explained == "its first events have left the log, which starts at offset 2"


def test_a_sample_compares_the_same_keys_each_time_and_is_never_complete(folded) -> None:
    made = folded([each for at in range(200) for each in deposits(1, account=f"user{at}")])

    reports = [compare(made, keys_about=50) for _ in range(2)]

    assert reports[0] == reports[1]
    assert 25 < reports[0].compared < 75
    assert (reports[0].sampled, reports[0].complete, reports[0].unverified) == (True, False, 0)


def test_expectations_are_judged(folded) -> None:
    made = folded([*deposits(0, 1), *[record(0, f"user{at}", 0) for at in range(9)], record(6, "cyd", 1)])
    made.versions[2] = msgspec.structs.replace(
        made.versions[2],
        expectations={"deposits": "unchanged", "balance": "changes in at most 5 %", "rows": "unchanged"},
    )

    report = compare(made)

    assert [verdict.met for verdict in report.expectations] == [True, False, False]
    assert report.broken == (
        'balance: expected "changes in at most 5 %", but it changed for 1 of 10 keys, 10 %',
        'rows: expected "unchanged", but only one version has 1 of 11 keys, 9.09 %',
    )


def test_a_report_is_kept_for_whoever_promotes(folded) -> None:
    made = folded([*deposits(0, 1), record(4, "ana", 5), record(6, "cyd", 1)])
    control = made.control

    course = diff_and_keep(
        *made.versions.values(), store=made.store, control=control, log=made.log, load_code=made.code
    )
    assert all(advance.done <= advance.total for advance in course)

    kept = control.diff("account", 1, 2)
    report = msgspec.json.decode(kept.document, type=DiffReport)
    assert (report.changed, report.only_right, report.complete, report.taken_at) == (1, 1, True, kept.taken_at)
    assert report.samples[0].cause.event["note"] == "n1"


def test_versions_that_have_no_position_in_common_are_refused(folded) -> None:
    class ByNote(View, key="note"):
        n: int = count(Deposited)

    made = folded([], codes={1: ViewCode(Account, EVENTS), 2: ViewCode(ByNote, EVENTS)})
    with pytest.raises(InputError, match=r"one is keyed by account \(text\), the other by note \(text\)"):
        compare(made)

    made = folded([])
    table = msgspec.structs.replace(made.versions[2].table, partition_count=5)
    made.versions[2] = msgspec.structs.replace(made.versions[2], table=table)
    with pytest.raises(InputError, match="one reads events in 3 partitions, the other events in 5 partitions"):
        compare(made)


def test_a_version_without_rows_is_refused(folded) -> None:
    made = folded([])
    made.versions[2] = msgspec.structs.replace(made.versions[2], seeded=False)
    with pytest.raises(InputError, match="account v2 has no rows yet"):
        compare(made)
    made.versions[2] = msgspec.structs.replace(made.versions[2], seeded=True, dropped_at=AT)
    with pytest.raises(VersionNotFound, match="its rows are gone"):
        compare(made)


def test_by_default_the_primary_is_compared_with_the_newest_candidate(folded) -> None:
    made = folded([])
    control = made.control
    bundle = control.store_bundle(b"code").id
    for number in (1, 2, 3):
        table = msgspec.structs.replace(made.versions[min(number, 2)].table, version=number)
        control.deploy(Deployment(table, f"f{number}", {}, bundle))
    entry = HistoryEntry(id="1", at=AT, actor="ana", action="promote")
    control.change_release(Release(1, {"account": 2}), expected_revision=0, entry=entry)

    def chosen(left: int | None = None, right: int | None = None) -> tuple[int, int]:
        return tuple(version.table.version for version in versions_to_compare("account", left, right, control=control))

    assert chosen() == (2, 3)
    assert chosen(1) == (1, 3)
    assert chosen(1, 2) == (1, 2)
    control.retire("account", 3, aborted=True)
    assert chosen() == (2, 1)
    with pytest.raises(VersionNotFound, match="account v9 does not exist"):
        chosen(1, 9)
    control.retire("account", 1)
    with pytest.raises(InputError, match="nothing to compare account v2 with"):
        chosen()
    with pytest.raises(ViewNotFound):
        versions_to_compare("acount", None, None, control=control)
