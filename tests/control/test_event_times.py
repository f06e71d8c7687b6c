"""Seeking by event time: what lies before a range is not read, and an event that would be missed is an error."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control.seeds import Code, Seeds, code, paid
from storages import KAFKA, KAFKA_AND_POSTGRES, POSTGRES, SQLITE, append_in_transactions, on, open_stores

from kappa.control.event_times import SAMPLE_PLACES, SAMPLE_RECORDS
from kappa.control.ranges import RangeContent, TimeRange, read_range
from kappa.control.tail import time_of
from kappa.errors import InputError, ProjectError
from kappa.model.records import NewRecord, RecordBatch
from kappa.ports import Log, Seed
from kappa.testing.eventually import eventually

AHEAD_MAX_US = 1_000
EVERYTHING = Seed("range", 1, 0, None)  # until it is known when the range begins
OLD = 2_000  # events before the range


class CountingLog:
    """A log that counts the records that are read of it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.read_count = 0

    def read(self, partition: int, start: int, *, records_max: int) -> RecordBatch:
        batch = self._log.read(partition, start, records_max=records_max)
        self.read_count += len(batch)
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.fixture(autouse=True)
def _ahead_max(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPPA_LOG_AHEAD_MAX", f"{AHEAD_MAX_US // 1_000}ms")


def now_us() -> int:
    return time.time_ns() // 1_000


def codes(fold: str) -> tuple[Code, Code]:
    """Return code in which a note "x" counts, and code in which it does not."""
    return code(fold.format(where="")), code(fold.format(where=', where=Paid.note != "x"'))


def milliseconds(start_us: int, first: int, last: int) -> TimeRange:
    return TimeRange(time_of(start_us + first * 1_000), time_of(start_us + last * 1_000))


def begin_later(span_us: int) -> int:
    """Return a time that no event appended so far may have, when so long has passed since."""
    start_us = now_us() + 2 * AHEAD_MAX_US
    eventually(lambda: now_us() > start_us + span_us)
    return start_us


def dated(user: str, time_us: int, **fields: Any) -> NewRecord:
    return msgspec.structs.replace(paid(user, 0, **fields), event_time_us=time_us)


def old_events() -> list[NewRecord]:
    return [dated("abcd"[number % 4], (number * 7 % OLD) * 1_000_000, units=number) for number in range(OLD)]


def sampled_max(storage: str) -> int:
    """Return how many records at most are read to check what the project says of its events."""
    return 0 if storage.partition("+")[0] == "sqlite" else SAMPLE_PLACES * SAMPLE_RECORDS


def events_around(start_us: int) -> list[NewRecord]:
    """Return events of the ten milliseconds from `start_us` on, in no order, with late and later ones between them."""
    inside = [dated("abcde"[at_ms % 5], start_us + at_ms * 1_000, units=at_ms, note="x") for at_ms in (7, 2, 9, 0, 5)]
    late = [dated("a", 5_000_000, units=1), dated("f", 1, units=2)]
    return [inside[0], late[0], *inside[1:4], dated("b", start_us + 10_000, units=3), late[1], inside[4]]


@on(SQLITE, POSTGRES, KAFKA_AND_POSTGRES)
@pytest.mark.parametrize(
    ("fold", "passes"),
    [("n: int = total(Paid.units{where})", 1), ("n: int | None = maximum(Paid.units{where})", 2)],
    ids=["adjusted", "folded again"],
)
def test_a_range_replay_corrects_events_in_no_order_and_does_not_look_for_them_before_the_range(
    tmp_path: Path, storage: str, fold: str, passes: int
) -> None:
    """The sample is compared with all of the log, and keys that cannot be adjusted are folded from its start."""
    with Seeds(tmp_path, *codes(fold), seed=EVERYTHING, partitions=1) as it:
        it.log.append(old_events())
        start_us = begin_later(10_000)
        recent = events_around(start_us)
        it.append(recent)
        it.fold(1)
        it.versions[2] = msgspec.structs.replace(it.versions[2], seed=Seed("range", 1, start_us, start_us + 10_000))
        counting = it.log = CountingLog(it.log)

        note = it.seed()

        needed = len(recent) + passes * (OLD + len(recent))
        assert needed <= counting.read_count <= needed + sampled_max(storage)
        assert "equal a full replay" in note
        assert it.rows() == it.replayed()[0] != it.rows(1)


@on(SQLITE, KAFKA)
def test_a_plan_counts_what_is_in_a_range_and_reads_from_its_first_event_on(tmp_path: Path, storage: str) -> None:
    with open_stores(tmp_path, partitions=1) as stores:
        stores.events.append(old_events())
        before = stores.events.ends()[0]
        start_us = begin_later(10_000)
        recent = events_around(start_us)
        append_in_transactions(stores.events, recent)
        log = CountingLog(stores.events)

        content = read_range(log, milliseconds(start_us, 0, 10), now=datetime.now(UTC))

        # A log that knows the times of its events relies on nobody's word.
        assert content == RangeContent(events=5, keys=3, passed_over=before if storage == KAFKA else 0)
        assert len(recent) <= log.read_count <= len(recent) + sampled_max(storage)


@on(SQLITE, KAFKA)
def test_a_range_without_events_is_refused_with_what_all_of_the_log_holds(tmp_path: Path, storage: str) -> None:
    with open_stores(tmp_path, partitions=1) as stores:
        stores.events.append(old_events())
        start_us = begin_later(10_000)
        append_in_transactions(stores.events, events_around(start_us))

        with pytest.raises(InputError, match=r"no event lies in the range: .* holds events from 1970-01-01"):
            read_range(stores.events, milliseconds(start_us, 3, 5), now=datetime.now(UTC))


@on(KAFKA)
@pytest.mark.parametrize("before", [True, False], ids=["before the range", "behind its start"])
def test_an_event_that_is_dated_further_ahead_than_the_project_says_ends_it(
    tmp_path: Path, storage: str, before: bool
) -> None:
    """Whoever relied on it would miss events of the range, and say nothing."""
    with Seeds(tmp_path, *codes("n: int = count(Paid{where})"), seed=EVERYTHING, partitions=1) as it:
        ahead = dated("a", now_us() + 3_600_000_000)
        it.log.append([*old_events(), ahead] if before else old_events())
        start_us = begin_later(10_000)
        it.append(events_around(start_us) + ([] if before else [ahead]))
        it.fold(1)
        it.versions[2] = msgspec.structs.replace(it.versions[2], seed=Seed("range", 1, start_us, start_us + 10_000))

        for look in (
            it.seed,
            lambda: read_range(it.log, milliseconds(start_us, 0, 10), now=datetime.now(UTC)),
        ):
            with pytest.raises(ProjectError, match=r"events\[0\] has an event at offset .* log.ahead_max says at most"):
                look()
        assert not it.seeded
