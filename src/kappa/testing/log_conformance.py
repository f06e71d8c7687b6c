"""The laws of the `Log` and `Logs` ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kappa.errors import ProjectError, RecordTooLarge, SourceMoved
from kappa.model.partitioning import partition_of
from kappa.model.records import NewRecord, Record, Source
from kappa.ports.log import RECORD_BYTES_MAX, Log, Logs
from kappa.testing.conformance import Conformance
from kappa.testing.processes import append_in_turn, append_to_new_logs, ingest, run_and_kill, run_together
from kappa.testing.reading import batches_of

_PARTITION_COUNT = 4
_K = partition_of(b"k", _PARTITION_COUNT)  # most laws need one partition only: that of the key `k`

# 64 bits signed: what a log can say about an event's time.
_TIMES = st.integers(-(2**63), 2**63 - 1)

# Before any append of today: no event is dated ahead of it.
_PAST = st.integers(-(2**63), 1_700_000_000_000_000)

_RECORDS = st.lists(st.builds(NewRecord, st.none() | st.binary(max_size=20), st.binary(max_size=50), _TIMES))

_EXAMPLES = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


def _numbers(start: int, end: int) -> list[NewRecord]:
    return [NewRecord(b"k", str(n).encode()) for n in range(start, end)]


def _read_all(log: Log, partition: int = _K, start: int = 0, *, records_max: int = 1_000) -> list[Record]:
    """Read on from `next_offset` until the log has no more."""
    return [record for batch in batches_of(log, partition, start, records_max=records_max) for record in batch]


def _values(records: Sequence[Record]) -> list[bytes]:
    return [record.value for record in records]


class LogConformance(Conformance):
    """Laws of a log. An adapter gives the fixture `open_logs`: a picklable function that opens one folder's logs.

    Picklable, because some laws hold between processes: `functools.partial(SqliteLogs, tmp_path)`.

    Attributes:
        log_count: How many logs a law creates to find processes in each other's way; fewer where each takes long.
    """

    log_count: ClassVar[int] = 50

    @pytest.fixture
    def log(self, open_logs: Callable[[], Logs]) -> Iterator[Log]:
        with open_logs().open("events", partition_count=_PARTITION_COUNT) as log:
            yield log

    def test_a_new_log_is_empty(self, log: Log) -> None:
        nothing = dict.fromkeys(range(_PARTITION_COUNT), 0)
        assert (log.starts(), log.ends(), log.source_states()) == (nothing, nothing, {})

    def test_a_log_knows_its_name_and_partitions(self, log: Log) -> None:
        assert (log.name, log.partition_count) == ("events", _PARTITION_COUNT)

    def test_appending_nothing_changes_nothing(self, log: Log) -> None:
        log.append([])

        assert log.ends() == log.starts()

    @_EXAMPLES
    @given(records=_RECORDS)
    def test_records_come_back_as_they_were_appended(self, log: Log, records: list[NewRecord]) -> None:
        starts = log.ends()

        log.append(records)

        for partition, start in starts.items():
            found = [(each.key, each.value, each.event_time_us) for each in _read_all(log, partition, start)]
            assert found == [
                (each.key, each.value, each.event_time_us)
                for each in records
                if partition_of(each.key, _PARTITION_COUNT) == partition
            ]

    def test_a_record_without_key_goes_to_partition_zero(self, log: Log) -> None:
        log.append([NewRecord(None, b"1")])

        assert _values(_read_all(log, 0)) == [b"1"]

    def test_records_of_a_partition_keep_their_order(self, log: Log) -> None:
        log.append(_numbers(0, 2_500))
        log.append(_numbers(2_500, 2_501))

        assert _values(_read_all(log)) == [b"%d" % n for n in range(2_501)]

    def test_offsets_rise_strictly(self, log: Log) -> None:
        for start in range(0, 30, 3):
            log.append(_numbers(start, start + 3))

        offsets = [record.offset for record in _read_all(log, records_max=7)]
        assert offsets == sorted(set(offsets))

    def test_the_end_lies_behind_the_last_record(self, log: Log) -> None:
        log.append(_numbers(0, 10))

        assert log.ends()[_K] > _read_all(log)[-1].offset

    def test_columns_of_a_batch_have_one_length(self, log: Log) -> None:
        log.append(_numbers(0, 10))

        batch = log.read(_K, 0, records_max=7)
        assert {len(batch.keys), len(batch.values), len(batch.event_times_us), len(batch.appended_at_us)} == {
            len(batch.offsets)
        }

    @pytest.mark.parametrize("records_max", [1, 2, 3, 5, 100])
    def test_a_batch_knows_its_greatest_event_time(self, log: Log, records_max: int) -> None:
        times_us = [5, -7, 3, 11, 2, -1, 0]
        for start, end in ((0, 3), (3, 4), (4, 7)):
            log.append([NewRecord(b"k", b"v", time_us) for time_us in times_us[start:end]])

        for batch in batches_of(log, _K, records_max=records_max):
            assert batch.event_time_max_us == max(batch.event_times_us)

    @_EXAMPLES
    @given(appends=st.lists(st.lists(_PAST, min_size=1, max_size=5), min_size=1, max_size=5), data=st.data())
    def test_no_event_of_a_time_or_later_lies_before_where_it_begins(
        self, log: Log, appends: list[list[int]], data: st.DataObject
    ) -> None:
        for times_us in appends:
            log.append([NewRecord(b"k", b"v", time_us) for time_us in times_us])
        wanted_us = data.draw(st.sampled_from([time_us for times_us in appends for time_us in times_us]) | _TIMES)

        offsets = log.offsets_from(wanted_us)

        assert all(log.starts()[each] <= offsets[each] <= end for each, end in log.ends().items())
        passed_over = [record for record in _read_all(log) if record.offset < offsets[_K]]
        assert [record for record in passed_over if record.event_time_us >= wanted_us] == []

    def test_where_a_time_begins_follows_what_is_appended(self, log: Log) -> None:
        log.append([NewRecord(b"k", b"early", 1)])
        begin = log.offsets_from(10**15)

        log.append([NewRecord(b"k", b"v", 10**15)])

        assert log.offsets_from(10**15)[_K] <= log.ends()[_K] - 1
        assert _values(_read_all(log, start=begin[_K]))[-1:] == [b"v"]

    def test_reading_at_the_end_returns_nothing_and_stays_there(self, log: Log) -> None:
        log.append(_numbers(0, 3))
        end = log.ends()[_K]

        batch = log.read(_K, end, records_max=10)

        assert (list(batch), batch.next_offset) == ([], end)

    def test_reading_may_start_at_any_record(self, log: Log) -> None:
        for start in range(0, 12, 4):
            log.append(_numbers(start, start + 4))

        everything = _read_all(log)
        for at, record in enumerate(everything):
            assert _read_all(log, start=record.offset) == everything[at:]

    @pytest.mark.parametrize("records_max", [1, 7, 1_000, 10_000])
    def test_reading_on_meets_every_record_once(self, log: Log, records_max: int) -> None:
        for start, end in [(0, 1), (1, 4), (4, 1_204), (1_204, 1_205)]:
            log.append(_numbers(start, end))

        assert _values(_read_all(log, records_max=records_max)) == [b"%d" % n for n in range(1_205)]

    @pytest.mark.parametrize("records_max", [1, 7, 1_500])
    def test_a_batch_is_never_larger_than_asked_for(self, log: Log, records_max: int) -> None:
        for start in range(0, 30, 3):
            log.append(_numbers(start, start + 3))
        log.append(_numbers(30, 3_000))

        assert 1 <= len(log.read(_K, 0, records_max=records_max)) <= records_max

    def test_another_reader_sees_an_append_at_once(self, open_logs: Callable[[], Logs], log: Log) -> None:
        with open_logs().open("events", partition_count=_PARTITION_COUNT) as reader:
            assert reader.ends()[_K] == 0

            log.append(_numbers(0, 3))

            assert (reader.ends(), _values(_read_all(reader))) == (log.ends(), [b"0", b"1", b"2"])

    def test_a_log_outlives_its_users(self, open_logs: Callable[[], Logs]) -> None:
        with open_logs().open("events", partition_count=_PARTITION_COUNT) as log:
            log.append(_numbers(0, 3), source=Source("file", expected=None, state="3"))

        with open_logs().open("events", partition_count=_PARTITION_COUNT) as log:
            assert (_values(_read_all(log)), log.source_states()) == ([b"0", b"1", b"2"], {"file": "3"})

    def test_a_log_keeps_its_number_of_partitions(self, open_logs: Callable[[], Logs], log: Log) -> None:
        with pytest.raises(ProjectError, match="'events' has 4 partitions, not 5"):
            open_logs().open(log.name, partition_count=5)

    def test_logs_are_apart_from_each_other(self, open_logs: Callable[[], Logs], log: Log) -> None:
        log.append(_numbers(0, 3))

        with open_logs().open("events-by-city", partition_count=1) as other:
            assert (other.partition_count, other.ends()) == (1, {0: 0})

    def test_names_are_those_of_all_logs_sorted(self, open_logs: Callable[[], Logs]) -> None:
        assert open_logs().names() == []

        for name in ["events-by-city", "events"]:
            open_logs().open(name, partition_count=1).close()

        assert open_logs().names() == ["events", "events-by-city"]

    def test_closing_twice_is_harmless(self, log: Log) -> None:
        log.close()
        log.close()

    def test_a_log_takes_space(self, log: Log) -> None:
        log.append([NewRecord(b"k", b"x" * 100_000)])

        assert log.size_bytes() > 100_000 // 10  # a log may compress

    def test_a_record_of_the_largest_size_is_accepted(self, log: Log) -> None:
        largest = NewRecord(b"k", b"x" * (RECORD_BYTES_MAX - 1))

        log.append([largest, largest, largest])

        assert _values(_read_all(log)) == [largest.value] * 3

    def test_a_larger_record_is_refused_with_all_of_its_append(self, log: Log) -> None:
        too_large = NewRecord(b"k", b"x" * RECORD_BYTES_MAX)

        with pytest.raises(RecordTooLarge) as refusal:
            log.append([*_numbers(0, 3), too_large], source=Source("file", expected=None, state="4"))

        assert refusal.value.size_bytes == RECORD_BYTES_MAX + 1
        assert (log.ends()[_K], log.source_state("file")) == (0, None)

    def test_a_source_has_no_state_before_its_first_append(self, log: Log) -> None:
        assert log.source_state("file") is None

    def test_a_source_has_the_state_of_its_last_append(self, log: Log) -> None:
        log.append(_numbers(0, 3), source=Source("file", expected=None, state="3"))
        log.append(_numbers(3, 6), source=Source("file", expected="3", state="6"))

        assert log.source_state("file") == "6"

    def test_a_source_moves_without_records_too(self, log: Log) -> None:
        log.append([], source=Source("file", expected=None, state="skipped a bad line"))

        assert (log.source_state("file"), log.ends()[_K]) == ("skipped a bad line", 0)

    def test_sources_are_listed_by_name(self, log: Log) -> None:
        for name in ["b", "ä", "a", "B"]:
            log.append([], source=Source(name, expected=None, state=name * 2))

        assert list(log.source_states().items()) == [("B", "BB"), ("a", "aa"), ("b", "bb"), ("ä", "ää")]

    @pytest.mark.parametrize("expected", [None, "2"])
    def test_a_source_that_has_moved_refuses_the_append(self, log: Log, expected: str | None) -> None:
        log.append(_numbers(0, 3), source=Source("file", expected=None, state="3"))

        with pytest.raises(SourceMoved, match="'file' to events"):
            log.append(_numbers(3, 6), source=Source("file", expected=expected, state="6"))

        assert (log.source_state("file"), len(_read_all(log))) == ("3", 3)

    def test_a_state_takes_four_kibibytes_of_any_text(self, log: Log) -> None:
        state = "\0ä€🙂" * 409

        log.append([], source=Source("file", expected=None, state=state))

        assert log.source_state("file") == state

    def test_processes_create_logs_at_the_same_time(self, open_logs: Callable[[], Logs]) -> None:
        run_together(partial(append_to_new_logs, logs=self.log_count), (open_logs,), (open_logs,), (open_logs,))

        assert len(open_logs().names()) == self.log_count
        for name in open_logs().names():
            with open_logs().open(name, partition_count=1) as log:
                assert len(_read_all(log, 0)) == 3

    def test_processes_append_to_one_log(self, open_logs: Callable[[], Logs], log: Log) -> None:
        append = partial(append_in_turn, times=30, records=10)

        run_together(append, (open_logs, "ana"), (open_logs, "ben"))

        values = _values(_read_all(log))
        for name in (b"ana", b"ben"):
            assert [value for value in values if value.startswith(name)] == [b"%s-%d" % (name, n) for n in range(300)]
        assert len(values) == 600

    def test_processes_that_share_a_source_append_every_record_once(
        self, open_logs: Callable[[], Logs], log: Log
    ) -> None:
        run_together(partial(ingest, count=200), (open_logs,), (open_logs,))

        assert _values(_read_all(log)) == [b"%d" % n for n in range(200)]

    @pytest.mark.parametrize("records_seen", [1, 50])
    def test_a_killed_source_goes_on_where_it_was(
        self, open_logs: Callable[[], Logs], log: Log, records_seen: int
    ) -> None:
        run_and_kill(partial(ingest, count=1_000_000_000), open_logs, when=lambda: len(_read_all(log)) >= records_seen)
        count = len(_read_all(log)) + 10

        ingest(open_logs, count=count)

        assert _values(_read_all(log)) == [b"%d" % n for n in range(count)]

    def test_a_reader_never_sees_a_part_of_what_a_source_appends(self, open_logs: Callable[[], Logs], log: Log) -> None:
        sizes: list[int] = []

        def seen_enough() -> bool:
            sizes.append(len(_read_all(log)))
            return len(set(sizes)) > 20

        append = partial(append_in_turn, times=1_000_000, records=10, from_source=True)
        run_and_kill(append, open_logs, "ana", when=seen_enough)

        assert [size for size in sizes if size % 10] == []
