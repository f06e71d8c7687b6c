"""A repartitioned log holds each event once, in the partition of its new key, wherever the copying was killed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa import Event
from kappa.adapters.embedded.repartition import Repartitioner
from kappa.adapters.sqlite.log import SqliteLogs
from kappa.errors import SourceMoved
from kappa.model.partitioning import partition_of
from kappa.model.records import NewRecord, Record
from kappa.model.rekeying import Rekeying
from kappa.ports import Log
from kappa.ports.control import RejectedInput
from kappa.ports.log import RECORD_BYTES_MAX, copied_up_to
from kappa.testing.reading import all_batches

PARTITIONS = 4


class PageView(Event, version=2):
    user_id: str
    page: str

    @classmethod
    def upcast_1(cls, old: dict) -> dict:
        return {**old, "page": old["path"]}


class UserRegistered(Event):
    user_id: str


EVENTS = (PageView, UserRegistered)


class Impatient:
    def wait(self, seconds: float, *, reason: str = "") -> None:
        raise AssertionError(f"waited {seconds} s: {reason}")


def view_of(user: str, page: str) -> NewRecord:
    value = {"type": "PageView", "_schema_version": 2, "user_id": user, "page": page}
    return NewRecord(user.encode(), json.dumps(value).encode(), 7)


def repartitioner(source: Log, target: Log, rejected: list[RejectedInput], **options: int) -> Repartitioner:
    return Repartitioner(
        source, target, Rekeying(("page",), EVENTS), reject=rejected.extend, waiter=Impatient(), **options
    )


def records(log: Log) -> list[Record]:
    return [record for batch in all_batches(log) for record in batch]


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Log, Log]:
    opened = SqliteLogs(tmp_path)
    return (
        opened.open("events", partition_count=PARTITIONS),
        opened.open("events-by-page", partition_count=PARTITIONS),
    )


@settings(max_examples=50, deadline=None)
@given(
    views=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["/1", "/2", "/3", "/4", "/5"])), max_size=60),
    append_max=st.integers(1, 20),
    copy_max=st.integers(1, 20),
    crashes=st.lists(st.booleans(), max_size=30),
)
def test_every_event_is_copied_once_and_in_order_whatever_is_killed(
    views: list[tuple[str, str]], append_max: int, copy_max: int, crashes: list[bool]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        opened = SqliteLogs(Path(folder))
        source = opened.open("events", partition_count=PARTITIONS)
        target = opened.open("events-by-page", partition_count=PARTITIONS)
        copier = repartitioner(source, target, [], copy_records_max=copy_max)
        appended = 0
        for crash in [*crashes, *([False] * len(views))]:
            source.append([view_of(*view) for view in views[appended : appended + append_max]])
            appended += append_max
            copier.step()
            if crash:
                copier = repartitioner(source, target, [], copy_records_max=copy_max)
        while copier.step():
            pass

        copies = records(target)
        assert all(copy.partition == partition_of(copy.key, PARTITIONS) for copy in copies)
        assert sorted(copy.value for copy in copies) == sorted(record.value for record in records(source))
        assert copied_up_to(source, target) == source.ends()
        for page in {page for _, page in views}:
            for user in {user for user, _ in views}:
                wanted = [view_of(*view).value for view in views if view == (user, page)]
                assert [copy.value for copy in copies if copy.value == view_of(user, page).value] == wanted
        source.close()
        target.close()


def test_of_two_repartitioners_one_is_told_to_stop(logs: tuple[Log, Log]) -> None:
    source, target = logs
    source.append([view_of("ana", "/cart")])
    first, second = repartitioner(source, target, []), repartitioner(source, target, [])

    first.step()

    with pytest.raises(SourceMoved):
        second.step()
    assert len(records(target)) == 1


def test_an_old_version_is_keyed_by_what_its_upcaster_makes_of_it(logs: tuple[Log, Log]) -> None:
    source, target = logs
    old = b'{"type":"PageView","user_id":"ana","path":"/cart"}'
    source.append([NewRecord(b"ana", old)])

    repartitioner(source, target, []).step()

    (copy,) = records(target)
    assert (copy.key, copy.value) == (b"/cart", old)


def test_a_newer_version_that_this_code_can_read_is_keyed_as_it_is(logs: tuple[Log, Log]) -> None:
    source, target = logs
    newer = b'{"type":"PageView","_schema_version":9,"_readable_from":2,"user_id":"ana","page":"/cart"}'
    source.append([NewRecord(b"ana", newer)])

    repartitioner(source, target, []).step()

    (copy,) = records(target)
    assert (copy.key, copy.value) == (b"/cart", newer)


def test_an_event_without_such_a_field_is_left_out(logs: tuple[Log, Log]) -> None:
    source, target = logs
    source.append(
        [NewRecord(b"ana", b'{"type":"UserRegistered","user_id":"ana"}'), NewRecord(b"x", b'{"type":"Tick"}')]
    )
    rejected: list[RejectedInput] = []

    repartitioner(source, target, rejected).step()

    assert (records(target), rejected) == ([], [])


def test_an_event_of_a_type_that_nobody_declared_yet_is_copied_if_it_has_the_field(logs: tuple[Log, Log]) -> None:
    """A later version of the project may declare it, and its history must be there."""
    source, target = logs
    source.append([NewRecord(b"ana", b'{"type":"PageLiked","page":"/cart"}')])

    repartitioner(source, target, []).step()

    assert [copy.key for copy in records(target)] == [b"/cart"]


def test_what_is_too_large_with_its_other_key_is_noted_and_holds_up_nothing(logs: tuple[Log, Log]) -> None:
    source, target = logs
    page, event = b"/" + b"p" * 100, b'{"type":"PageView","_schema_version":2,"user_id":"a","page":"%s","x":"%s"}'
    filler = b"x" * (RECORD_BYTES_MAX - 1 - len(event % (page, b"")))
    source.append([NewRecord(b"a", event % (page, filler)), view_of("a", "/cart")])
    rejected: list[RejectedInput] = []

    repartitioner(source, target, rejected).step()

    (only,) = rejected
    assert only.reason == "1,048,676 bytes with the key that it is copied by, more than 1,048,576"
    assert [copy.key for copy in records(target)] == [b"/cart"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected a JSON object, got list"),
        (b'{"page":"/cart"}', "no event type"),
        (
            b'{"type":"PageView","_schema_version":2,"user_id":"ana"}',
            "expected `str` in the key field `page`, got None",
        ),
        (b'{"type":"PageView","_schema_version":2,"page":null}', "expected `str` in the key field `page`, got None"),
        (b'{"type":"PageView","_schema_version":2,"page":7}', "expected `str` in the key field `page`, got 7"),
        (b'{"type":"PageView","_schema_version":9,"page":"/cart"}', "version 9 is newer than this code"),
        (b'{"type":"PageView","user_id":"ana"}', "upcast_1 raised KeyError"),
        (b'{"type":"PageView","_schema_version":2,"page":"\\ud800"}', "not JSON"),
    ],
)
def test_what_cannot_be_keyed_is_noted_with_its_reason(logs: tuple[Log, Log], value: bytes, reason: str) -> None:
    source, target = logs
    source.append([NewRecord(b"ana", b'{"type":"Tick"}'), NewRecord(b"ana", value)])
    rejected: list[RejectedInput] = []

    repartitioner(source, target, rejected).step()

    partition = partition_of(b"ana", PARTITIONS)
    (only,) = rejected
    assert reason in only.reason
    assert (only.source, only.place, only.value) == (f"events-by-page from events[{partition}]", 1, value)
    assert records(target) == []
