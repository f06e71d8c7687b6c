"""Versions with rows, positions and diffs as a test wants them, in real stores; nothing is folded and nothing runs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kappa.adapters.sqlite.control import SqliteControl
from kappa.adapters.sqlite.log import SqliteLogs
from kappa.adapters.sqlite.views import SqliteViews
from kappa.control.advance import Advance
from kappa.control.history import new_entry
from kappa.control.reading import read_query, read_row
from kappa.control.releasing import Releasing
from kappa.model.partitioning import partition_of
from kappa.model.records import Changes, NewRecord, Progress, RowChange
from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.planning.diffs import DiffReport
from kappa.planning.releases import promoted
from kappa.ports import Deployment, DiffRecord, Log, Seed, Version

T = TypeVar("T")

KEYS = [b"AA", b"B6", b"DL", b"UA"]
PARTITIONS = 2
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def table(view: str, version: int, log: str = "events", key: str = "code") -> ViewTable:
    return ViewTable(
        view=view,
        version=version,
        key=(Column(key, ColumnType.TEXT),),
        columns=(Column("made_by", ColumnType.INTEGER),),
        log=log,
        partition_count=PARTITIONS,
        group_count=1,
    )


def outcome(work: Generator[Advance, None, T]) -> T:
    """Return what a generator comes to."""
    while True:
        try:
            next(work)
        except StopIteration as finished:
            return finished.value


class Served:
    """A project's stores, and ways to put versions into them. Rows say which version they are of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened = ExitStack()
        self.control = SqliteControl(folder / "control.db")
        self.store = SqliteViews(folder / "views")
        self.logs = SqliteLogs(folder / "logs")
        self._opened.callback(self.control.close)
        self._opened.callback(self.store.close)

    def close(self) -> None:
        self._opened.close()

    def open_log(self, name: str) -> Log:
        return self.logs.open(name, partition_count=PARTITIONS)

    def releasing(self, actor: str = "ana", *, warm_s: float = 60.0) -> Releasing:
        return Releasing(control=self.control, store=self.store, open_log=self.open_log, actor=actor, warm_s=warm_s)

    def deploy(
        self,
        view: str,
        version: int,
        position: Mapping[int, int] | None = None,
        *,
        seed: Seed | None = None,
        log: str = "events",
        key: str = "code",
    ) -> Version:
        """Deploy a version from a bundle of its own, with a row of each key, and a position if it has one."""
        bundle = self.control.store_bundle(f"{view} v{version}".encode()).id
        made = table(view, version, log, key)
        deployed = self.control.deploy(Deployment(made, f"code {view} {version}", {}, bundle, seed))
        self.store.create(made)
        if position is not None:
            self.fold(view, version, position, log=log)
        return deployed

    def fold(self, view: str, version: int, position: Mapping[int, int], *, log: str = "events") -> None:
        """Move a version to a position."""
        made = table(view, version, log)
        rows = [
            RowChange(key, (key.decode(), version), b"state", partition_of(key, PARTITIONS), offset=0) for key in KEYS
        ]
        progress = {partition: Progress(offset, 0) for partition, offset in position.items()}
        with self.store.writer(made, 0, epoch=self.control.next_epoch(made, 0)) as writer:
            writer.commit(Changes(rows, []), progress)

    def serve(self, versions: Mapping[str, int]) -> None:
        """Make first versions primary, as the process that runs them does."""
        release = self.control.release()
        self.control.change_release(
            promoted(release, versions, {}),
            expected_revision=release.revision,
            entry=new_entry("ana", "deploy", detail="first versions"),
        )

    def append(self, count: int) -> None:
        """Append records to the event log."""
        with self.open_log("events") as log:
            log.append([NewRecord(KEYS[number % len(KEYS)], b"{}") for number in range(count)])

    def compare(self, view: str, left: int, right: int, *, broken: tuple[str, ...] = (), unverified: int = 0) -> None:
        """Keep a diff that found no difference, unless told otherwise."""
        report = DiffReport(
            view=view,
            left=left,
            right=right,
            position={},
            compared=len(KEYS),
            equal=len(KEYS),
            changed=0,
            only_left=0,
            only_right=0,
            unverified=unverified,
            columns=(),
            added=(),
            removed=(),
            dead_left=0,
            dead_right=0,
            samples=(),
            expectations=(),
            broken=broken,
            notes=(),
            sampled=False,
            complete=unverified == 0,
            taken_at=NOW,
        )
        self.control.save_diff(DiffRecord(view, left, right, NOW, msgspec.json.encode(report)))

    def promote(self, *, force: bool = False, wait_s: float = 0, **versions: int) -> None:
        outcome(self.releasing().promote(versions, wait_s=wait_s, force=force))

    def shift(self, view: str, version: int, percent: float) -> None:
        outcome(self.releasing().shift(view, {version: percent}, wait_s=0))

    def states(self, view: str) -> list[str]:
        """Return what became of a view's versions: `running`, `retired` or `aborted`."""
        return [
            "running" if version.retired_at is None else "aborted" if version.aborted else "retired"
            for version in self.control.versions(view)
        ]


def read_all_the_time(folder: Path, done: Any, results: Any) -> None:
    """Poll a row and a query over both views; say how often, and which versions one query showed together."""
    served = Served(folder)
    sql = "SELECT carrier.made_by, route.made_by FROM carrier JOIN route USING (code)"
    reads, seen = 0, set()
    try:
        results.put("reading")
        while not done.is_set():
            row = read_row("carrier", ["UA"], control=served.control, views=served.store)
            assert row.columns["made_by"] == row.version
            answer = read_query(sql, control=served.control, views=served.store, rows_max=100, timeout_s=30)
            assert len(answer.rows) == len(KEYS)
            seen |= set(answer.rows)
            reads += 1
        results.put((reads, seen))
    except BaseException as error:
        results.put((repr(error), set()))
        raise
    finally:
        served.close()
