"""Compare two versions of a view row by row at one position, while both may be consuming. Exact, and bounded in memory.

Every key that either version has at that position is compared once. The first pass goes through the right version: it
takes the keys that the left one lacks and, as long as it can remember them, the others too. The second pass goes
through the left version and takes the rest: what appears there meanwhile is new, or the first pass has remembered it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from kappa.control.advance import Advance
from kappa.control.code import LoadCode
from kappa.control.counting import LoadCounting, counting_of
from kappa.control.dead_letters import set_aside_only_by
from kappa.control.first_differences import explain
from kappa.control.settling import Pair, Settling, meet
from kappa.errors import InputError, VersionNotFound, ViewNotFound
from kappa.model.schema import ViewTable, encode_key
from kappa.planning.diffs import DiffReport, incomparable
from kappa.planning.expectations import judge, sentence
from kappa.planning.tally import Tally
from kappa.ports import ControlStore, DiffRecord, Log, StoredRow, Version, ViewStore

SAMPLES = 10
# One look into the other version for so many rows: the cost of a statement no longer counts, and they take about 5 MB.
_BATCH_ROWS = 5_000
# Settled together, so that the log is read once for all of them.
_ROUND_KEYS = 20_000
# What settling may read of the log: some seconds.
_SETTLE_RECORDS_MAX = 5_000_000
# Keys that the first pass has taken are remembered, about 100 bytes each: those of both versions to save the second
# pass half of its work, as long as there are few; those of the right version alone so that none is counted twice.
_BOTH_KEYS_MAX, _ONLY_RIGHT_KEYS_MAX = 1_000_000, 2_000_000


def diff(
    left: Version,
    right: Version,
    *,
    store: ViewStore,
    log: Log,
    load_counting: LoadCounting,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    samples_max: int = SAMPLES,
    keys_about: int | None = None,
) -> Generator[Advance, None, DiffReport]:
    """Compare two versions, yield how far it has come, and return the report.

    Args:
        left: A deployed version, by convention the primary.
        right: Another one of the same view, whose expectations count.
        store: Where their rows are.
        log: The log that both read.
        load_counting: For keys that moved meanwhile, and for the events behind a difference.
        now: The clock that says when the report was complete.
        samples_max: How many samples of each kind the report holds at most.
        keys_about: Compare only about so many keys, the same ones each time; None for all.

    Raises:
        InputError: They cannot be compared: another view, key or log, no seed yet, or their rows are gone.
    """
    _refuse_incomparable(left, right)
    settling = Settling(
        left,
        right,
        store=store,
        log=log,
        # Events behind a version's progress are counted by its own code, whatever it started from.
        load_code=lambda version: load_counting(version).own,
        records_max=_SETTLE_RECORDS_MAX,
    )
    tally = Tally(left.table, right.table, samples_max=samples_max)
    comparison = _Comparison(left.table, right.table, tally, store=store, settling=settling, keys_about=keys_about)
    yield from comparison.run()
    samples = yield from explain(
        tally.samples(), left, right, common=tally.common, log=log, load_counting=load_counting
    )
    verdicts = judge(right.expectations, tally)
    return DiffReport(
        view=right.table.view,
        left=left.table.version,
        right=right.table.version,
        dead_left=store.dead_letter_count(left.table),
        dead_right=store.dead_letter_count(right.table),
        dead_right_only=set_aside_only_by(right.table, left.table, comparison.position, views=store),
        samples=samples,
        expectations=verdicts,
        broken=tuple(sentence(verdict) for verdict in verdicts if not verdict.met),
        sampled=keys_about is not None,
        complete=keys_about is None and comparison.unverified == 0,
        notes=tuple(settling.notes),
        taken_at=now(),
        **comparison.counts(),
    )


def diff_and_keep(
    left: Version,
    right: Version,
    *,
    store: ViewStore,
    control: ControlStore,
    log: Log,
    load_code: LoadCode,
    samples_max: int = SAMPLES,
    keys_about: int | None = None,
) -> Generator[Advance, None, DiffReport]:
    """Compare as `diff` does, and keep the report in place of an earlier one of these versions.

    Whoever promotes asks for it. A report on some keys only is not kept, for it speaks for none.
    """
    report = yield from diff(
        left,
        right,
        store=store,
        log=log,
        load_counting=partial(counting_of, versions=control.versions(right.table.view), load_code=load_code),
        samples_max=samples_max,
        keys_about=keys_about,
    )
    if not report.sampled:
        document = msgspec.json.encode(report)
        control.save_diff(DiffRecord(report.view, report.left, report.right, report.taken_at, document))
    return report


def versions_to_compare(
    view: str, left: int | None, right: int | None, *, control: ControlStore
) -> tuple[Version, Version]:
    """Return the versions of these numbers; by default the primary, and what would replace it.

    That is the newest version that is not retired and not the primary: a candidate, or else the former primary.

    Raises:
        ViewNotFound: Nothing of this name is deployed.
        VersionNotFound: There is no such version.
        InputError: There is nothing to compare the primary with.
    """
    known = {version.table.version: version for version in control.versions(view)}
    release = control.release()
    if not known:
        raise ViewNotFound(view=view, known=tuple(dict.fromkeys(each.table.view for each in control.versions())))
    left = release.primaries.get(view) if left is None else left
    if right is None:
        live = [number for number, version in known.items() if version.retired_at is None and number != left]
        former = release.formers.get(view)
        candidates = [number for number in live if former is None or number != former.version]
        right = max(candidates or live, default=None)
    if left is None or right is None:
        raise InputError(
            f"there is nothing to compare {view} v{left or max(known)} with",
            next_step="change its code, then: kappa plan",
        )
    for number in (left, right):
        if number not in known:
            raise VersionNotFound(view=view, version=number)
    return known[left], known[right]


def _refuse_incomparable(left: Version, right: Version) -> None:
    for version in (left, right):
        table = version.table
        if version.dropped_at is not None:
            raise VersionNotFound(view=table.view, version=table.version, reason="was retired, and its rows are gone")
        if not version.seeded:
            raise InputError(
                f"{table.view} v{table.version} has no rows yet: its seed is not made", next_step="kappa apply"
            )
    flaw = incomparable(left.table, right.table)
    if flaw is not None:
        raise InputError(
            f"cannot compare {left.table.name} and {right.table.name}: {flaw}",
            next_step=f"look at the rows of one: kappa get {left.table.view} KEY --version v{right.table.version}",
        )


class _Comparison:
    """One comparison under way.

    Attributes:
        position: The lesser of both versions' progress, partition by partition.
        unverified: How many keys were given up.
    """

    def __init__(
        self,
        left: ViewTable,
        right: ViewTable,
        tally: Tally,
        *,
        store: ViewStore,
        settling: Settling,
        keys_about: int | None,
    ) -> None:
        self._left, self._right, self._store = left, right, store
        self._tally, self._settling = tally, settling
        # Before any row is read, so that each row is at least as new.
        self._progress = store.progress(left), store.progress(right)
        self.position = {
            partition: min(progress.next_offset, self._progress[1][partition].next_offset)
            for partition, progress in self._progress[0].items()
        }
        self.unverified = 0
        row_counts = store.row_count(left), store.row_count(right)
        self._done, self._total = 0, sum(row_counts)
        # Chosen by hash, both versions are asked for the same keys.
        self._chosen_below = None if keys_about is None else keys_about * 2**32 // max(*row_counts, 1)
        self._taken: set[bytes] = set()
        self._waiting: list[bytes] = []

    def run(self) -> Iterator[Advance]:
        """Compare."""
        for rows in self._scan(self._right):
            lefts = self._store.get_many(self._left, tuple(rows))
            for key, row in rows.items():
                left = lefts.get(key)
                if self._remember(key, certain=left is None) or left is None:
                    self._take(Pair(key, left, row))
            yield from self._settle_full_round()
        for rows in self._scan(self._left):
            remaining = {key: row for key, row in rows.items() if key not in self._taken}
            rights = self._store.get_many(self._right, tuple(remaining))
            for key, row in remaining.items():
                self._take_once(Pair(key, row, rights.get(key)))
            yield from self._settle_full_round()
        yield from self._settle()

    def counts(self) -> dict[str, Any]:
        """Return the fields of a report that it has counted."""
        tally = self._tally
        return {
            "position": self.position,
            "compared": tally.compared,
            "equal": tally.equal,
            "changed": tally.changed,
            "only_left": tally.only_left,
            "only_right": tally.only_right,
            "unverified": self.unverified,
            "columns": tally.columns(),
            "added": tally.common.added,
            "removed": tally.common.removed,
        }

    def _scan(self, table: ViewTable) -> Iterator[dict[bytes, StoredRow]]:
        """Yield all chosen rows of a version by key, some at a time."""
        key_count = len(table.key)
        for batch in _batches(self._store.scan(table), _BATCH_ROWS):
            rows = {encode_key(row.columns[:key_count]): row for row in batch}
            rows = dict(sorted(rows.items()))
            if (below := self._chosen_below) is not None:
                rows = {key: row for key, row in rows.items() if zlib.crc32(key) < below}
            yield rows
            self._done += len(batch)

    def _remember(self, key: bytes, *, certain: bool) -> bool:
        """Remember a key that the first pass takes, if there is room; there is more for those that it must take."""
        room = len(self._taken) < (_ONLY_RIGHT_KEYS_MAX if certain else _BOTH_KEYS_MAX)
        if room:
            self._taken.add(key)
        return room

    def _take_once(self, pair: Pair) -> None:
        """Take a pair of the second pass, unless the first one may have taken it without room to remember."""
        assert pair.left is not None, pair
        appeared = pair.left.offset >= self._progress[0][pair.left.partition].next_offset
        if appeared and len(self._taken) >= _ONLY_RIGHT_KEYS_MAX:
            self.unverified += 1
        else:
            self._take(pair)

    def _take(self, pair: Pair) -> None:
        """Compare a pair as it is, or let it wait for its round."""
        row = pair.left or pair.right
        assert row is not None, pair
        left, right = (progress[row.partition] for progress in self._progress)
        if meet(pair, left, right):
            self._compare(pair)
        else:
            self._waiting.append(pair.key)

    def _compare(self, pair: Pair) -> None:
        left, right = pair.left, pair.right
        row = left or right
        assert row is not None, pair
        columns = (None if each is None else each.columns for each in (left, right))
        self._tally.add(pair.key, *columns, place=(row.partition, pair.end))

    def _settle_full_round(self) -> Iterator[Advance]:
        yield Advance(self._done, self._total, "rows")
        if len(self._waiting) >= _ROUND_KEYS:
            yield from self._settle()

    def _settle(self) -> Iterator[Advance]:
        """Compare the keys that moved."""
        if not self._waiting:
            return
        yield Advance(self._done, self._total, "rows", note=f"settling {len(self._waiting):,} keys that moved")
        settled = self._settling.settle(self._waiting)
        for pair in settled:
            self._compare(pair)
        self.unverified += len(self._waiting) - len(settled)
        self._waiting = []


def _batches(rows: Iterable[StoredRow], size: int) -> Iterator[Sequence[StoredRow]]:
    rows = iter(rows)
    while batch := tuple(islice(rows, size)):
        yield batch
