"""Find the event behind a difference: the first event of a key after which two versions' rows differ.

The key's events are folded from the log's start, one at a time, by the code that each version counts them by. It
explains samples and decides nothing, so it is bounded, and says what it did not find out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence

import msgspec

from kappa.control.advance import Advance
from kappa.control.counting import Counting, LoadCounting
from kappa.control.key_events import LOG_START, Folded, KeyFolder, events_of_keys, readable
from kappa.control.tail import time_of
from kappa.errors import HistoryLost, KappaError
from kappa.model.records import Record
from kappa.planning.diffs import FirstDifference, Sample, SampleKind
from kappa.planning.tally import Columns, CommonColumns, named, only
from kappa.ports import Log, Version

# Of each kind: what a reader looks at before asking `kappa why`.
_EXPLAINED: Mapping[SampleKind, int] = {"changed": 3, "only-left": 1, "only-right": 1}
# What may be read of the log for all samples together: a second or two.
_RECORDS_MAX = 2_000_000
# Events of one key, each folded by both codes: about a second.
_EVENTS_MAX = 50_000


def explain(
    samples: Sequence[tuple[bytes, Sample]],
    left: Version,
    right: Version,
    *,
    common: CommonColumns,
    log: Log,
    load_counting: LoadCounting,
) -> Generator[Advance, None, tuple[Sample, ...]]:
    """Return the samples, the first ones of each kind with the event behind them, or the reason why there is none."""
    seen: Counter[SampleKind] = Counter()
    explained = []
    records_left = _RECORDS_MAX
    for key, sample in samples:
        seen[sample.kind] += 1
        if seen[sample.kind] > _EXPLAINED[sample.kind]:
            explained.append(sample)
            continue
        search = _Search(key, sample, left, right, common=common)
        yield from search.run(log, load_counting, records_max=records_left)
        records_left -= search.records
        explained.append(msgspec.structs.replace(sample, cause=search.cause, not_explained=search.why_not))
    return tuple(explained)


class _Search:
    """The search for one key.

    Attributes:
        cause: What was found.
        why_not: Why nothing was.
        records: How many records of the log were read.
    """

    def __init__(self, key: bytes, sample: Sample, left: Version, right: Version, *, common: CommonColumns) -> None:
        self._key, self._sample, self._versions, self._common = key, sample, (left, right), common
        self._before: Columns | None = None  # the left version's; the right one's is equal
        self._number = 0
        self.cause: FirstDifference | None = None
        self.why_not = ""
        self.records = 0

    def run(self, log: Log, load_counting: LoadCounting, *, records_max: int) -> Iterator[Advance]:
        """Search; afterwards there is either a cause or a reason why there is none."""
        try:
            left, right = (load_counting(version) for version in self._versions)
            yield from self._read(log, left, right, end=min(self._sample.end, records_max))
        except HistoryLost as error:
            self.why_not = f"its first events have left the log, which starts at offset {error.first}"
        except KappaError as error:
            if error.retryable:
                raise
            self.why_not = error.message

    def _read(self, log: Log, left: Counting, right: Counting, *, end: int) -> Iterator[Advance]:
        folders = KeyFolder(left), KeyFolder(right)
        exact = left.exact and right.exact
        for batch in events_of_keys(log, self._sample.partition, {self._key: (0, end)}, since=LOG_START):
            self.records = batch.next_offset
            for record in batch:
                self._number += 1
                if self._number > _EVENTS_MAX:
                    self._give_up(f"its first {_EVENTS_MAX:,} events")
                    return
                folded = folders[0].fold(record), folders[1].fold(record)
                if self.cause is None:
                    self._note_difference(record, *folded)
                if self.cause is not None and exact:
                    return
            yield Advance(min(self.records, end), end, note="looking for the event behind a difference")
        if end < self._sample.end:
            self._give_up(f"its events among the first {end:,} records of its partition")
            return
        if not exact:
            self._check_rows(*(folder.columns for folder in folders))
        if self.cause is None and not self.why_not:
            self.why_not = "both codes give equal rows for the events in the log"

    def _give_up(self, events: str) -> None:
        """Say that only some events were looked at, which leaves a cause without its proof if rows came from a seed."""
        agree, self.cause = self.cause is None, None
        self.why_not = f"both codes agree on {events}" if agree else f"of a seed, {events} are no proof"

    def _check_rows(self, *told: Columns | None) -> None:
        """Take back the cause if what was told of a version that started from a seed is not its row."""
        for side, version in enumerate(self._versions):
            wanted = (self._sample.left, self._sample.right)[side]
            found = self._named(side, told[side], list(wanted or ()))
            if version.seed is not None and found != wanted:
                self.cause = None
                self.why_not = (
                    f"v{version.table.version} starts from a seed, made of v{version.seed.base}, and its row is not "
                    "what its own code makes of the events"
                )

    def _note_difference(self, record: Record, first: Folded, second: Folded) -> None:
        """Note an event as the cause if the versions' rows differ after it."""
        names = self._names_that_differ(first.columns, second.columns)
        if names is None:
            self._before = first.columns
            return
        event = readable(record.value)
        self.cause = FirstDifference(
            record.partition,
            record.offset,
            self._number,
            time_of(record.event_time_us),
            event.type,
            event.value,
            self._named(0, self._before, names),
            self._named(0, first.columns, names),
            self._named(1, second.columns, names),
            first.reason,
            second.reason,
        )

    def _names_that_differ(self, left: Columns | None, right: Columns | None) -> list[str] | None:
        """Return the names of the common columns that differ, all of them if a row is missing; None for equal rows."""
        if left is None and right is None:
            return None
        if left is None or right is None:
            return [column.name for column in self._common.columns]
        return [column.name for column, *_ in self._common.changed(left, right)] or None

    def _named(self, side: int, columns: Columns | None, names: Sequence[str]) -> Mapping[str, object] | None:
        return None if columns is None else only(named(self._versions[side].table.all_columns, columns), names)
