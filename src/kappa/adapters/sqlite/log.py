"""The log on SQLite: one file per log, in which records lie in blocks, a column at a time.

A block holds up to 1,000 records of one partition as one msgpack value, which is about five times as fast to append
and to read as a row per record. Offsets of a partition have no gaps, and a block's id says where it lies:
`partition << 40 | offset of its first record`, so that reading on is a range scan of the table itself.
"""

from __future__ import annotations

import struct
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from kappa.adapters.sqlite.connection import connect, create, size_bytes, sqlite_errors, transaction
from kappa.errors import HistoryLost, ProjectError, RecordTooLarge, SourceMoved
from kappa.model.partitioning import partition_of
from kappa.model.records import NewRecord, RecordBatch, Source
from kappa.ports.log import RECORD_BYTES_MAX

BLOCK_RECORDS_MAX = 1_000

# A block fills many pages: larger ones make appending a quarter faster and reading a tenth.
PAGE_BYTES = 16 * 1024

# Of keys and values: a reader that wants one record of a block decodes no more than this.
BLOCK_BYTES_MAX = 1024 * 1024

# A batch ends here, however many records were asked for: 20,000 records of 1 MiB each would not fit into memory.
BATCH_BYTES_MAX = 16 * 1024 * 1024

# Small blocks are merged until a batch has so many records; it is not worth cutting the next block for more.
MERGED_RECORDS_MIN = 500

SOURCE_STATE_BYTES_MAX = 4 * 1024

_OFFSET_BITS = 40
_EVENT_TIME_MIN_US = -(2**63)

# Of a block, its row is read, and not the pages on which most of its payload lies.
_FIRST_FROM = """
    SELECT id FROM blocks WHERE id BETWEEN ? AND ? AND event_time_max_us >= ? ORDER BY id LIMIT 1
"""

_SCHEMA = """
    CREATE TABLE log (partition_count INTEGER NOT NULL);
    CREATE TABLE blocks (
        id INTEGER PRIMARY KEY, count INTEGER NOT NULL, appended_at_us INTEGER NOT NULL,
        event_time_max_us INTEGER NOT NULL, payload BLOB NOT NULL
    );
    CREATE TABLE sources (name TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO log VALUES ({partition_count})
"""

# From the block that holds the wanted offset on: the last one that begins at or before it, unless it ends before, too.
_READ = """
    SELECT id, count, appended_at_us, event_time_max_us, payload FROM blocks
    WHERE id >= ifnull((SELECT max(id) FROM blocks WHERE id BETWEEN :first AND :wanted), :wanted) AND id <= :last
        AND id + count > :wanted
    ORDER BY id
"""


class _Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A block's columns as read. Origins follow when there are any; nobody reads them, so decoding skips them.

    Few readers look at event times, so these are not taken apart: 8 bytes each, lowest first.
    """

    keys: list[bytes | None]
    event_times_us: bytes
    values: list[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Payload).decode


class SqliteLog:
    """A log in one SQLite file, which exists. Not for use by two threads."""

    def __init__(self, file: Path) -> None:
        self._name = file.stem
        self._file = file
        self._connection = connect(file)
        try:
            with sqlite_errors(file):
                self._partition_count: int = self._connection.execute("SELECT partition_count FROM log").fetchone()[0]
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        return self._name

    @property
    def partition_count(self) -> int:
        return self._partition_count

    @property
    def has_gaps(self) -> bool:
        return False

    @property
    def ahead_max_us(self) -> int | None:
        return None  # blocks know their times

    def append(self, records: Sequence[NewRecord], *, source: Source | None = None) -> None:
        blocks = list(self._blocks(records))
        if not blocks and source is None:
            return
        with sqlite_errors(self._file), transaction(self._connection):
            if source is not None:
                self._move(source)
            # Read under the lock, so that blocks of several processes lie in the order of their times.
            now_us = time.time_ns() // 1_000
            ends = {partition: self._end(partition) for partition in {block[0] for block in blocks}}
            for partition, count, event_time_max_us, payload in blocks:
                place = partition << _OFFSET_BITS | ends[partition]
                block = (place, count, now_us, event_time_max_us, payload)
                self._connection.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", block)
                ends[partition] += count

    def _blocks(self, records: Sequence[NewRecord]) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (partition, record count, greatest event time, payload) per block, partition by partition."""
        partition_count = self._partition_count
        partitions: dict[int, list[NewRecord]] = defaultdict(list)
        for record in records:
            partitions[partition_of(record.key, partition_count)].append(record)
        for partition, its_records in partitions.items():
            for start, end in self._cuts(its_records):
                block = its_records[start:end]
                yield partition, len(block), max(record.event_time_us for record in block), _payload(block)

    def _cuts(self, records: Sequence[NewRecord]) -> Iterator[tuple[int, int]]:
        """Yield the ranges of records that make a block each."""
        start = block_bytes = 0
        for at, record in enumerate(records):
            size = len(record.value) + (0 if record.key is None else len(record.key))
            if size > RECORD_BYTES_MAX:
                raise RecordTooLarge(log=self._name, size_bytes=size, size_bytes_max=RECORD_BYTES_MAX)
            block_bytes += size
            if at - start == BLOCK_RECORDS_MAX or (block_bytes > BLOCK_BYTES_MAX and at > start):
                yield start, at
                start, block_bytes = at, size
        if records:
            yield start, len(records)

    def _move(self, source: Source) -> None:
        assert len(source.state.encode()) <= SOURCE_STATE_BYTES_MAX, source
        if self.source_state(source.name) != source.expected:
            raise SourceMoved(log=self._name, source=source.name)
        self._connection.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", (source.name, source.state))

    def source_state(self, name: str) -> str | None:
        with sqlite_errors(self._file):
            found = self._connection.execute("SELECT state FROM sources WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def source_states(self) -> Mapping[str, str]:
        with sqlite_errors(self._file):
            return dict(self._connection.execute("SELECT name, state FROM sources ORDER BY name"))

    def read(self, partition: int, start: int, *, records_max: int) -> RecordBatch:
        assert 0 <= partition < self._partition_count, (partition, self._partition_count)
        assert start >= 0, start
        assert records_max >= 1, records_max
        first = partition << _OFFSET_BITS
        keys: list[bytes | None] = []
        values: list[bytes] = []
        event_times = bytearray()
        event_time_max_us = _EVENT_TIME_MIN_US
        appended_at_us: list[int] = []
        read_bytes = 0
        wanted = {"first": first, "wanted": first + start, "last": first + (1 << _OFFSET_BITS) - 1}
        # Closing the cursor ends the read transaction: an open one would keep the write-ahead log growing.
        with sqlite_errors(self._file), closing(self._connection.execute(_READ, wanted)) as blocks:
            for block_id, count, block_appended_at_us, block_max_us, payload in blocks:
                skipped = start + len(keys) - (block_id - first)
                if skipped < 0:
                    raise HistoryLost(log=self._name, partition=partition, wanted=start, first=block_id - first)
                taken = min(count, skipped + records_max - len(keys))
                # Only the first block is cut: another one would be decoded again for its other part.
                if keys and (taken < count or read_bytes + len(payload) > BATCH_BYTES_MAX):
                    break
                block = _decode(payload)
                keys += block.keys[skipped:taken]
                values += block.values[skipped:taken]
                times = block.event_times_us[skipped * 8 : taken * 8]
                event_times += times
                event_time_max_us = max(
                    event_time_max_us,
                    block_max_us if taken - skipped == count else max(_times(times), default=event_time_max_us),
                )
                appended_at_us += [block_appended_at_us] * (len(keys) - len(appended_at_us))
                read_bytes += len(payload)
                if len(keys) >= min(records_max, MERGED_RECORDS_MIN):
                    break
        end = start + len(keys)
        return RecordBatch(
            partition,
            range(start, end),
            keys,
            values,
            _times(event_times),
            appended_at_us,
            end,
            event_time_max_us if keys else 0,
        )

    def starts(self) -> Mapping[int, int]:
        with sqlite_errors(self._file):
            return {partition: self._start(partition) for partition in range(self._partition_count)}

    def ends(self) -> Mapping[int, int]:
        with sqlite_errors(self._file):
            return {partition: self._end(partition) for partition in range(self._partition_count)}

    def offsets_from(self, event_time_us: int) -> Mapping[int, int]:
        offsets = dict(self.ends())  # asked first: what is appended meanwhile lies behind them
        with sqlite_errors(self._file):
            for partition in offsets:
                first = partition << _OFFSET_BITS
                wanted = (first, first + (1 << _OFFSET_BITS) - 1, event_time_us)
                if (found := self._connection.execute(_FIRST_FROM, wanted).fetchone()) is not None:
                    offsets[partition] = found[0] - first
        return offsets

    def _start(self, partition: int) -> int:
        first = partition << _OFFSET_BITS
        found = self._connection.execute(
            "SELECT id FROM blocks WHERE id >= ? AND id < ? ORDER BY id LIMIT 1", (first, first + (1 << _OFFSET_BITS))
        ).fetchone()
        return 0 if found is None else found[0] - first

    def _end(self, partition: int) -> int:
        # The last block holds the end, so whoever deletes history leaves it there.
        first = partition << _OFFSET_BITS
        found = self._connection.execute(
            "SELECT id + count FROM blocks WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
            (first, first + (1 << _OFFSET_BITS)),
        ).fetchone()
        return 0 if found is None else found[0] - first

    def size_bytes(self) -> int:
        return size_bytes(self._file)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _times(packed: bytes | bytearray) -> memoryview[int]:
    assert sys.byteorder == "little", "times in a log are packed lowest byte first"
    return memoryview(packed).cast("q")


def _payload(records: Sequence[NewRecord]) -> bytes:
    columns: list[object] = [
        [record.key for record in records],
        struct.pack(f"<{len(records)}q", *[record.event_time_us for record in records]),
        [record.value for record in records],
    ]
    if any(record.origin is not None for record in records):
        columns.append([record.origin for record in records])
    return _encode(columns)


class SqliteLogs:
    """The logs in one folder, a file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str, *, partition_count: int) -> SqliteLog:
        assert partition_count >= 1, partition_count
        file = self._folder / f"{name}.db"
        create(file, _SCHEMA.format(partition_count=partition_count), page_bytes=PAGE_BYTES)
        log = SqliteLog(file)
        if log.partition_count != partition_count:
            log.close()
            raise ProjectError(
                f"the log '{name}' has {log.partition_count} partitions, not {partition_count}",
                next_step=f"set partitions = {log.partition_count} in kappa.toml: a log keeps its partitions for ever",
            )
        return log

    def names(self) -> Sequence[str]:
        return sorted(file.stem for file in self._folder.glob("*.db"))

    def warnings(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        """Nothing is left to do: each log has its own file."""
