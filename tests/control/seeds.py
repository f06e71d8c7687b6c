"""A log, a base version and a version that starts from a seed of it, in real stores, folded without workers."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
from storages import append_in_transactions, open_stores

from kappa.adapters.sqlite.control import SqliteControl
from kappa.control.bundles import Bundles
from kappa.control.code import ViewCode
from kappa.control.counting import counting_of
from kappa.control.diffing import diff
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.seeding import make_seed
from kappa.errors import BundleNotFound
from kappa.model.fingerprint import combine
from kappa.model.kernel import Kernel
from kappa.model.records import NewRecord, Progress
from kappa.model.schema import ViewTable
from kappa.model.views import view_spec
from kappa.planning.diffs import DiffReport
from kappa.ports import Deployment, Seed, Snapshot, Version, ViewStore
from kappa.testing.reading import batches_of

PARTITIONS = 3
_SOURCES = Path(tempfile.mkdtemp(prefix="kappa-seeds-"))  # the code of all versions, imported once
atexit.register(shutil.rmtree, _SOURCES, ignore_errors=True)

# The range of event time that is corrected, in seconds, in a log whose times go from 0 to 300.
START_S, END_S = 100, 200

SHOP = """
from decimal import Decimal
from kappa import Event, View, average, count, distinct, first, latest, maximum, migrate, minimum, on, total

class Paid(Event):
    user: str
    amount: Decimal = Decimal(1)
    units: int = 1
    weight: float = 0.1
    note: str = ""
    event_id: str = ""

class Named(Event):
    user: str
    name: str
    event_id: str = ""

class Customer(View, key="user"{options}):
    {fields}
"""


class Code(msgspec.Struct, frozen=True):
    """A version of the shop, imported, and what its fingerprint is made of."""

    view: ViewCode
    parts: dict[str, str]


@functools.cache
def code(*fields: str, options: str = "") -> Code:
    """Return the shop with a view of these fields, which may be functions, too."""
    text = SHOP.format(fields="\n    ".join(line for field in fields for line in field.splitlines()), options=options)
    with tempfile.TemporaryDirectory() as project, closing(SqliteControl(_SOURCES / "control.db")) as control:
        Path(project, "shop.py").write_text(text)
        bundles = Bundles(_SOURCES / "bundles", control)
        loaded = bundles.load(bundles.store(Path(project), ["shop"]))
    view = loaded.project.views["customer"]
    return Code(ViewCode(view, tuple(loaded.project.events.values())), fingerprint_parts(view, loaded.root))


def paid(user: str, at_s: int, **fields: Any) -> NewRecord:
    return _record("Paid", user, at_s, fields)


def named(user: str, at_s: int, name: str, **fields: Any) -> NewRecord:
    return _record("Named", user, at_s, {"name": name, **fields})


def _record(kind: str, user: str, at_s: int, fields: dict[str, Any]) -> NewRecord:
    time = f"1970-01-01T00:{at_s // 60:02}:{at_s % 60:02}Z"
    value = msgspec.json.encode({"type": kind, "timestamp": time, "user": user, **fields})
    return NewRecord(user.encode(), value, at_s * 1_000_000)


class Seeds:
    """A log, and versions 1 and 2 of a view that reads it."""

    def __init__(
        self, folder: Path, old: Code, new: Code, *, seed: Seed, groups: tuple[int, int] = (1, 1), partitions: int = 3
    ) -> None:
        self._app = open_stores(folder, partitions=partitions)
        self.log, self.store, self.control = self._app.events, self._app.views, self._app.control
        self.codes = {1: old, 2: new}
        bundle = self.control.store_bundle(b"").id
        self.versions: dict[int, Version] = {}
        for number, group_count in enumerate(groups, start=1):
            spec = view_spec(self.codes[number].view.view)
            table = ViewTable(spec.name, number, spec.key_columns, spec.columns, "events", partitions, group_count)
            parts = self.codes[number].parts
            deployment = Deployment(table, combine(parts), parts, bundle, seed=seed if number == 2 else None)
            self.versions[number] = self.control.deploy(deployment)
            self.store.create(table)

    def append(self, records: Iterable[NewRecord]) -> None:
        append_in_transactions(self.log, list(records))

    def fold(self, number: int) -> None:
        """Fold a version on from its progress to the end of the log."""
        table, code = self.versions[number].table, self.codes[number].view
        for group in range(table.group_count):
            epoch = self.control.next_epoch(table, group)
            with self.store.writer(table, group, epoch=epoch) as writer:
                kernel = Kernel(code.view, events=code.events, load=writer.get_many, rows_max=10_000)
                progress = {}
                for partition, done in writer.progress().items():
                    start = done.next_offset
                    while len(batch := self.log.read(partition, start, records_max=7)):
                        kernel.fold(batch)
                        start = batch.next_offset
                    progress[partition] = Progress(start)
                writer.commit(kernel.take_changes(), progress)

    def seed(self, *, store: Any = None, control: Any = None) -> str:
        """Make the seed of version 2, and return its note."""
        making = make_seed(
            self.versions[2],
            self.versions[1],
            store=store or self.store,
            control=control or self.control,
            log=self.log,
            load_code=self.code,
        )
        while True:
            try:
                next(making)
            except StopIteration as end:
                return str(end.value)

    def diff(self, *, base_known: bool = True) -> DiffReport:
        """Compare version 2 with version 1, which may be unknown as what its seed is made of."""
        left, right = versions = self.control.versions("customer")
        load_counting = partial(counting_of, versions=versions if base_known else (), load_code=self.code)
        comparing = diff(left, right, store=self.store, log=self.log, load_counting=load_counting)
        while True:
            try:
                next(comparing)
            except StopIteration as end:
                report: DiffReport = end.value
                return report

    def code(self, version: Version) -> ViewCode:
        """Return the code of a version, as long as it is there."""
        if version.table.version not in self.codes:
            raise BundleNotFound(bundle=version.bundle)
        return self.codes[version.table.version].view

    def forget_code(self, number: int) -> None:
        """Take the code of a version away, as the janitor does with that of one that was retired long ago."""
        del self.codes[number]

    @property
    def seeded(self) -> bool:
        return self.control.versions("customer")[1].seeded

    def rows(self, number: int = 2) -> dict[str, dict[str, Any]]:
        """Return key -> fields of each row, private ones and its position too."""
        return {
            row.columns[0]: _fields(self.codes[number], row.state)
            for row in self.store.scan(self.versions[number].table)
        }

    def dead_letters(self, number: int = 2) -> list[tuple[int, int]]:
        table = self.versions[number].table
        return [(letter.partition, letter.offset) for letter in self.store.dead_letters(table, limit=10_000)]

    def replayed(self) -> tuple[dict[str, dict[str, Any]], list[tuple[int, int]]]:
        """Return the rows and dead letters that a full replay by version 2 gives."""
        return self.by_turns(lambda _: 2)

    def by_turns(self, number_of: Callable[[int], int]) -> tuple[dict[str, dict[str, Any]], list[tuple[int, int]]]:
        """Return rows and dead letters if each event is folded by the version that its time in seconds asks for.

        The oracle: one record at a time, each by a kernel that knows nothing but the row's state.
        """
        states: dict[bytes, bytes] = {}
        dead = []
        kernels = {
            number: Kernel(
                code.view.view,
                events=code.view.events,
                load=lambda keys: {key: states[key] for key in keys if key in states},
                rows_max=0,
            )
            for number, code in self.codes.items()
        }
        for partition in range(self.log.partition_count):
            for batch in batches_of(self.log, partition, records_max=1):
                if not batch.values:
                    continue  # a step over what is in no record, such as the mark of a transaction
                kernel = kernels[number_of(batch.event_times_us[0] // 1_000_000)]
                kernel.fold(batch)
                changes = kernel.take_changes()
                kernel.take_changes()  # with no room for rows, the second time drops the last of them
                states |= {row.key: row.state for row in changes.rows if row.state is not None}
                dead += [(letter.partition, letter.offset) for letter in changes.dead_letters]
        return {key.decode(): _fields(self.codes[2], state) for key, state in states.items()}, dead

    def close(self) -> None:
        self._app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fields(code: Code, state: bytes) -> dict[str, Any]:
    row = msgspec.msgpack.decode(state, type=code.view.view)
    return {name: getattr(row, name) for name in view_spec(code.view.view).hints}


class FuzzyViews:
    """A store whose snapshots hold rows that are newer than their progress says."""

    def __init__(self, store: ViewStore, *, ahead: Sequence[int]) -> None:
        self._store, self._ahead = store, ahead

    @contextmanager
    def snapshot(self, table: ViewTable, group: int) -> Iterator[Snapshot]:
        with self._store.snapshot(table, group) as snapshot:
            progress = {
                partition: Progress(max(0, its.next_offset - self._ahead[partition]))
                for partition, its in snapshot.progress.items()
            }
            yield Snapshot(progress, snapshot.rows, snapshot.dead_letters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
