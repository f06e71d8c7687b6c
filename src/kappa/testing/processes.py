"""Other processes for the suites: how to run them side by side or to kill one, and what they do there.

What they do is told by a function of this module and its arguments, which start with an adapter's factory; all of it
has to be picklable. The module imports no test library, because each process imports it anew.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from datetime import datetime
from itertools import count
from typing import Any

from kappa.errors import KappaError, ObjectExists, ReleaseMoved, SourceMoved, StoreUnavailable
from kappa.model.event_schema import Schema
from kappa.model.records import Changes, DeadLetter, NewRecord, Progress, RowChange, Source
from kappa.model.schema import Column, ColumnType, ViewTable
from kappa.ports.control import ControlStore
from kappa.ports.lock import Holder, ProjectLock
from kappa.ports.log import Log, Logs
from kappa.ports.objects import ObjectStore
from kappa.ports.registry import SchemaRegistry
from kappa.ports.release import Release
from kappa.ports.versions import BundleEntry
from kappa.ports.views import ViewStore
from kappa.testing.deployments import USERS, deployment, entry
from kappa.testing.eventually import eventually

_SPAWN = multiprocessing.get_context("spawn")


def run_together(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """Run a function once per tuple of arguments, each in a process of its own, and return what they return."""
    with ProcessPoolExecutor(len(arguments), mp_context=_SPAWN) as processes:
        return [each.result() for each in [processes.submit(function, *its) for its in arguments]]


def run_and_kill(function: Callable[..., Any], *arguments: object, when: Callable[[], bool]) -> None:
    """Run a function in another process and kill it, without any warning, when a condition holds."""
    process = _SPAWN.Process(target=function, args=arguments)
    process.start()
    try:
        eventually(lambda: when() or not process.is_alive())
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL, f"it ended by itself with exit code {process.exitcode}"


def append_in_turn(
    open_logs: Callable[[], Logs], name: str, *, times: int, records: int, from_source: bool = False
) -> None:
    """Append `times` batches of `records` records `NAME-n`, all with one key; as a source named so, if asked to."""
    with open_logs().open("events", partition_count=4) as log:
        for start in range(0, times * records, records):
            end = start + records
            source = Source(name, str(start) if start else None, str(end)) if from_source else None
            log.append([NewRecord(b"k", f"{name}-{n}".encode()) for n in range(start, end)], source=source)


def append_to_new_logs(open_logs: Callable[[], Logs], *, logs: int) -> None:
    """Append a record to each of `logs` logs, in order; whoever starts later catches up with who creates them."""
    for number in range(logs):
        with open_logs().open(f"events-by-{number}", partition_count=1) as log:
            log.append([NewRecord(b"k", b"")])


def ingest(open_logs: Callable[[], Logs], *, count: int) -> None:
    """Append the records 0, 1, .. `count` - 1 from one source, going on wherever it is, whoever moved it there."""
    with open_logs().open("events", partition_count=4) as log:
        while _ingest_next(log, count=count):
            pass


def _ingest_next(log: Log, *, count: int) -> bool:
    state = log.source_state("numbers")
    start = int(state or 0)
    end = min(start + 3, count)
    try:
        log.append(
            [NewRecord(b"k", str(n).encode()) for n in range(start, end)],
            source=Source("numbers", expected=state, state=str(end)),
        )
    except (SourceMoved, StoreUnavailable):
        return True
    return end < count


ROUNDS = ViewTable(
    view="rounds",
    version=1,
    key=(Column("name", ColumnType.TEXT),),
    columns=(Column("round", ColumnType.INTEGER),),
    log="events",
    partition_count=1,
    group_count=1,
)

ROUND_KEYS = [f"key-{n:02}".encode() for n in range(50)]


def commit_rounds(open_views: Callable[[], ViewStore], *, rounds: int) -> None:
    """Commit round after round to `ROUNDS`: every row, the progress and one more dead letter say which one it is."""
    with closing(open_views()) as views, views.writer(ROUNDS, 0, epoch=1) as writer:
        for number in range(1, rounds + 1):
            rows = [RowChange(key, (key.decode(), number), b"%d" % number, 0, number) for key in ROUND_KEYS]
            letter = DeadLetter(0, number, None, b"x", "no reason")
            writer.commit(Changes(rows, [letter]), {0: Progress(number, number)})


def change_release_often(open_control: Callable[[], ControlStore], name: str, *, times: int) -> list[int]:
    """Read the release and make the next one, again and again; return the revisions that were accepted."""
    won = []
    with closing(open_control()) as control:
        for number in range(times):
            revision = control.release().revision
            release = Release(revision + 1, {"users": 1, "cities": 1})
            try:
                control.change_release(release, expected_revision=revision, entry=entry(f"{name} {number}"))
            except ReleaseMoved:
                continue
            won.append(revision + 1)
    return won


def switch_both_views(open_control: Callable[[], ControlStore]) -> None:
    """Promote versions 2 and 1 of `users` and `cities` in turn, both views at once, until killed."""
    with closing(open_control()) as control:
        for revision in count(1):
            version = revision % 2 + 1
            release = Release(revision, {"users": version, "cities": version})
            control.change_release(release, expected_revision=revision - 1, entry=entry(str(revision)))


def take_epochs(open_control: Callable[[], ControlStore], *, times: int) -> list[int]:
    """Take epochs of one group and return them in order."""
    with closing(open_control()) as control:
        return [control.next_epoch(USERS, 0) for _ in range(times)]


def deploy(open_control: Callable[[], ControlStore], fingerprint: str) -> bool:
    """Deploy version 1 and say whether that was accepted."""
    with closing(open_control()) as control:
        try:
            control.deploy(deployment(fingerprint=fingerprint))
        except KappaError:
            return False
        return True


def store_bundle(open_control: Callable[[], ControlStore], content: bytes) -> BundleEntry:
    """Store a bundle and return what the store says about it."""
    with closing(open_control()) as control:
        return control.store_bundle(content)


def add_plans(open_control: Callable[[], ControlStore], actor: str, *, times: int) -> list[int]:
    """Add plans and return their numbers in order."""
    with closing(open_control()) as control:
        return [control.add_plan(b"{}", actor=actor).number for _ in range(times)]


def register_schemas(open_registry: Callable[[], SchemaRegistry], subject: str, schemas: Sequence[Schema]) -> None:
    """Register schemas, one after the other."""
    with closing(open_registry()) as registry:
        for each in schemas:
            registry.register(subject, each)


def put_first(open_objects: Callable[[], ObjectStore], keys: Sequence[str], content: bytes) -> list[str]:
    """Wait for one other to do the same, put a new object under each key, and return those where nobody was faster."""
    won = []
    with closing(open_objects()) as objects:
        objects.put(f"ready/{content.decode()}", b"")
        eventually(lambda: len(objects.keys("ready/")) > 1)
        for key in keys:
            with suppress(ObjectExists):
                objects.put_new(key, content)
                won.append(key)
    return won


def put_again_and_again(open_objects: Callable[[], ObjectStore], key: str, size_bytes: int) -> None:
    """Put an object for ever, each time of another byte."""
    with closing(open_objects()) as objects:
        for number in count():
            objects.put(key, bytes([number % 256]) * size_bytes)


def this_process(since: datetime) -> Holder:
    """Return this process as a holder of the project lock."""
    return Holder(platform.node(), os.getpid(), since)


def hold_lock(open_lock: Callable[[], ProjectLock], since: datetime) -> None:
    """Take the project lock and keep it until this process is killed, or its parent has died."""
    parent = os.getppid()
    with closing(open_lock()) as lock:
        lock.take(this_process(since))
        eventually(lambda: os.getppid() != parent, timeout_s=math.inf)
