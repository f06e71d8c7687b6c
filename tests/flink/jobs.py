"""Projects whose versions are jobs in a stack's cluster, and events that keep arriving while their parts are killed."""

from __future__ import annotations

import json
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from confluent_kafka import TopicPartition

from kappa.adapters.flink.rest import FlinkRest, Job
from kappa.adapters.kafka.log import KafkaLog
from kappa.app import App
from kappa.config import Settings, load_settings
from kappa.control.versions import FirstVersions
from kappa.errors import StoreUnavailable
from kappa.model.interleaving import interleaved
from kappa.model.kernel import Kernel
from kappa.model.records import DeadLetter, NewRecord, RowChange, Source, lag
from kappa.ports import DeadLetterEntry, Log, StoredRow, Version, WorkerHealth
from kappa.ports.profiles import ProfileName
from kappa.stack import Stack
from kappa.testing.eventually import eventually
from kappa.testing.reading import batches_of

# Only a failure takes that long.
T = TypeVar("T")

TIMEOUT_S = 180.0

SETTINGS = """
[project]
name = "{name}"
modules = ["{module}"]
[log]
key = "{key}"
partitions = 4
[engine]
kind = "flink"
workers = {workers}
[flink.live]
checkpoint_interval_s = 1
"""
# Of a transaction, and the time to the next.
_RECORDS, _PAUSE_S = 40, 0.05


# Rows and dead letters, sorted.
Stored = tuple[list[Any], list[Any]]


def with_profile(settings: Settings, name: ProfileName, **changes: Any) -> Settings:
    """Return settings by which jobs of a profile work in another way."""
    profile = msgspec.structs.replace(getattr(settings.flink, name), **changes)
    return msgspec.structs.replace(settings, flink=msgspec.structs.replace(settings.flink, **{name: profile}))


class FlinkProject:
    """A project with a place of its own in a stack, deployed, with an engine that has started nothing.

    Attributes:
        version: That of the only view, or the first.
    """

    def __init__(self, folder: Path, stack: Stack, *, code: str, key: str, workers: int = 2) -> None:
        """Deploy a view's code; the log is keyed by `key`. The environment has to point at the stack."""
        mine = uuid.uuid4().hex[:8]
        self.folder, self.stack, self.name = folder, stack, f"faults{mine}"
        folder.mkdir(exist_ok=True)
        # Modules are imported by name, and two projects of this process may not share one.
        self.module = f"code{mine}"
        settings = SETTINGS.format(name=self.name, module=self.module, key=key, workers=workers)
        (folder / "kappa.toml").write_text(settings)
        self.code_file = folder / f"{self.module}.py"
        self.code_file.write_text(code)
        own = {"KAPPA_KAFKA_TOPIC_PREFIX": f"{mine}.", "KAPPA_POSTGRES_SCHEMA_PREFIX": f"t{mine}"}
        self.settings = load_settings(folder, {**os.environ, **own})
        self.app = App(self.settings)
        first = FirstVersions(
            folder, [self.module], bundles=self.app.bundles, control=self.app.control, store=self.app.views
        )
        first.deploy(lambda: self.app.project, layout=self.app.layout, actor="ana")
        self.version, *_ = self.app.control.versions()
        self.log, self.store = self.app.events, self.app.views
        self.rest = FlinkRest(stack.address("flink"))
        self.engine = self.app._new_engine()

    def jobs(self) -> list[Job]:
        """Return the project's jobs that have not ended."""
        return [job for job in self.rest.jobs() if job.name.startswith(f"kappa {self.name} ") and not job.ended]

    def job(self) -> Job:
        """Return the version's job, once it is at work."""

        def found() -> Job | None:
            self.health()
            return next((job for job in self.jobs() if job.at_work), None)

        job = eventually(found, timeout_s=TIMEOUT_S, what="the job is at work")
        assert job is not None
        return job

    def checkpoints(self) -> Any:
        """Return what the cluster says of the job's checkpoints."""
        connection = HTTPConnection(self.stack.address("flink").removeprefix("http://"), timeout=10)
        with closing(connection):
            connection.request("GET", f"/jobs/{self.job().id}/checkpoints")
            return json.load(connection.getresponse())

    def health(self) -> Sequence[WorkerHealth]:
        """Look after the jobs, as `kappa up` does all the time, and return how they do."""
        workers = self.engine.poll()
        assert not [worker for worker in workers if worker.state == "failed"], workers
        return workers

    def position(self) -> Mapping[int, int]:
        """Return what is committed; nothing while the store does not answer."""
        try:
            progress = self.store.progress(self.version.table)
        except StoreUnavailable:
            return {}
        return {partition: its.next_offset for partition, its in progress.items()}

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Look after the jobs until something is true."""
        eventually(lambda: (self.health(), condition())[1], timeout_s=TIMEOUT_S, what=what)

    def wait_for_commits(self) -> None:
        """Look after the jobs until rows have become newer than they are now."""
        eventually(self.position, timeout_s=TIMEOUT_S, what="the store answers")
        before = sum(self.position().values())
        self.wait_until(lambda: sum(self.position().values()) > before, "the job has committed more")

    def wait_until_caught_up(self, version: Version | None = None) -> None:
        """Look after the jobs until everything in the version's log is committed."""
        with closing(self.app.open_log((version or self.version).table.log)) as log:
            self.wait_until(
                lambda: (position := self.position()) and lag(position, log.ends()) == 0, "the version has caught up"
            )

    def stored(self, version: Version | None = None) -> Stored:
        """Return what the store has of a version."""
        table = (version or self.version).table
        return _answered(lambda: _values(self.store.scan(table), self.store.dead_letters(table, limit=1_000_000)))

    def undisturbed(self) -> Stored:
        """Return what one kernel makes of the version's log, from its start."""
        code = _answered(lambda: self.app.bundles.code(self.version))
        kernel = Kernel(code.view, events=code.events, load=lambda _: {}, rows_max=1_000_000, store_empty=True)
        with closing(self.app.open_log(self.version.table.log)) as log:
            for partition in range(log.partition_count):
                for batch in interleaved(batches_of(log, partition)):
                    kernel.fold(batch)
        changes = kernel.take_changes()
        return _values(changes.rows, changes.dead_letters)

    @contextmanager
    def arriving(self, records: Callable[[int, int], Sequence[NewRecord]]) -> Iterator[None]:
        """Let events arrive inside the block: `records` makes those with the numbers from one up to another."""
        stop, failures = threading.Event(), list[BaseException]()
        thread = threading.Thread(target=self._append, args=(records, stop, failures))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        assert not failures, failures

    def _append(
        self, records: Callable[[int, int], Sequence[NewRecord]], stop: threading.Event, failures: list[BaseException]
    ) -> None:
        """Append in transactions, as ingestion does, each again and again until it is in."""
        try:
            with App(self.settings) as app:
                state: str | None = app.events.source_state("test")
                while not stop.wait(_PAUSE_S):
                    start = int(state or 0)
                    source = Source("test", state, str(start + _RECORDS))
                    while not (_appended(app.events, records(start, start + _RECORDS), source) or stop.is_set()):
                        pass
                    state = source.state
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test has to hear of it
            failures.append(error)

    def forget_all(self) -> None:
        """Delete what is in the log, as retention does."""
        assert isinstance(self.log, KafkaLog)
        places = [TopicPartition(self.log.topic, partition, end) for partition, end in self.log.ends().items()]
        for deleted in self.log._cluster.admin.delete_records(places).values():
            deleted.result(30)

    def restart(self, *, parallelism: int) -> None:
        """Start the version in another engine, as the next `kappa up` does after somebody changed its settings."""
        self.app.settings = with_profile(self.settings, "live", parallelism=parallelism)
        self.engine = self.app._new_engine()
        self.engine.start(self.version)

    def close(self) -> None:
        """End the jobs."""
        self.engine.close()
        for job in self.jobs():
            self.rest.cancel(job.id)
        eventually(lambda: not self.jobs(), timeout_s=TIMEOUT_S, what="the jobs have ended")
        self.app.close()
        sys.modules.pop(self.module, None)


def _answered(ask: Callable[[], T]) -> T:
    """Return an answer; connections from before a server was stopped are met once each."""

    def answer() -> list[T]:
        try:
            return [ask()]
        except StoreUnavailable:
            return []

    return eventually(answer, timeout_s=TIMEOUT_S, what="the store answers")[0]


def _values(rows: Iterable[StoredRow | RowChange], letters: Iterable[DeadLetter | DeadLetterEntry]) -> Stored:
    return (
        sorted((row.columns, row.state, row.partition, row.offset, row.step, row.due_us) for row in rows),
        sorted((letter.partition, letter.offset, letter.reason, letter.value) for letter in letters),
    )


def _appended(log: Log, records: Sequence[NewRecord], source: Source) -> bool:
    try:
        log.append(records, source=source)
    except StoreUnavailable:
        return False
    return True
