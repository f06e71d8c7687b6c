"""`flink run -py flink_job.py`: one version's job, wired. Not for people; see `kappa up`.

Half of it runs in Flink's client, which builds the job and takes the epochs for it; half in TaskManagers, which fold.
These need the package, the code of the version out of the control store, and nothing of the project's folder.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from kappa.adapters.flink.fold import States, Stored, SubtaskFold
from kappa.adapters.flink.function import FINAL, Opened
from kappa.adapters.flink.graph import JobPlan, submit
from kappa.adapters.flink.job import REPLAY_SUFFIX
from kappa.adapters.flink.throttle import Throttle
from kappa.adapters.kafka.java_client import java_client
from kappa.adapters.kafka.log import KafkaLog
from kappa.adapters.kafka.opening import client_options
from kappa.adapters.postgres.jdbc import Reached, reach
from kappa.adapters.postgres.sink import sink_forms, sink_statements
from kappa.app import App
from kappa.config import WORKER_SETTINGS, decode_settings, encode_settings
from kappa.control.bundles import Bundles
from kappa.errors import HistoryLost, KappaError, VersionNotFound
from kappa.model.kernel import Kernel, Load
from kappa.model.records import Position, Progress
from kappa.ports import Log, Version
from kappa.ports.log import EVENT_LOG
from kappa.ports.profiles import Profile


def main(arguments: Sequence[str]) -> int:
    """Submit the job of one version, by the settings in the environment; return the exit code."""
    parser = argparse.ArgumentParser(prog="flink_job.py")
    parser.add_argument("view")
    parser.add_argument("version", type=int)
    parser.add_argument("profile", type=lambda text: msgspec.json.decode(text, type=Profile))
    given = parser.parse_args(arguments)
    settings = decode_settings(os.environ[WORKER_SETTINGS])
    try:
        with App(settings) as app:
            version = _deployed(app, given.view, given.version)
            _bundles(app).code(version)  # what cannot run must not fence what does
            reached = reach(settings.postgres.dsn)
            plan = _plan(app, version, reached, profile=given.profile)
            there = msgspec.structs.replace(
                settings, postgres=msgspec.structs.replace(settings.postgres, dsn=reached.dsn)
            )
            submit(plan, functools.partial(open_fold, encode_settings(there), given.view, given.version))
    except KappaError as error:
        hint = f"; next: {error.next_step}" if error.next_step else ""
        print(f"{'' if error.retryable else FINAL}{error.message}{hint}", file=sys.stderr)  # noqa: T201 - to the engine
        return 1
    return 0


def _plan(app: App, version: Version, reached: Reached, *, profile: Profile) -> JobPlan:
    settings, table = app.settings, version.table
    log = app.open_log(table.log)
    assert isinstance(log, KafkaLog), "the settings were checked"
    statements = sink_statements(table, schema_prefix=settings.postgres.schema_prefix)
    client = java_client(client_options(settings.kafka.options, os.environ))
    options = {
        "uid": table.view,
        "brokers": settings.kafka.bootstrap_servers,
        "topic": log.topic,
        "partitions": str(table.partition_count),
        # The newest epochs before the newest progress: nobody else moves it between the two.
        "epochs": _numbers(_take_epochs(app, version)),
        "start": _numbers(_start(app, version, log)),
        "repartitioned": str(table.log != EVENT_LOG).lower(),
        "url": reached.url,
        "table": table.name,
        **{f"client.{name}": value for name, value in client.items()},
        **{f"pg.{name}": value for name, value in reached.properties.items()},
        **{_camel(name): sql for name, sql in msgspec.structs.asdict(statements).items()},
    }
    return JobPlan(
        name=f"kappa {settings.project.name} {table.name}" + (REPLAY_SUFFIX if profile.name == "replay" else ""),
        profile=profile,
        flush_records=max(1, settings.engine.cache_rows // 2),
        state_url=settings.flink.state_url,
        options=options,
    )


def _take_epochs(app: App, version: Version) -> Mapping[int, int]:
    """Fence whoever wrote the version before, and return the epoch of each group."""
    epochs = {}
    for group in range(version.table.group_count):
        epochs[group] = app.control.next_epoch(version.table, group)
        app.views.writer(version.table, group, epoch=epochs[group]).close()
    return epochs


def _start(app: App, version: Version, log: Log) -> Position:
    """Return where each partition begins, unless a savepoint says otherwise: where its committed rows are.

    Raises:
        HistoryLost: The log begins behind that. The source would only say so again and again.
    """
    start, firsts = {number: its.next_offset for number, its in app.views.progress(version.table).items()}, log.starts()
    for partition, wanted in start.items():
        if wanted < firsts[partition]:
            raise HistoryLost(log=log.name, partition=partition, wanted=wanted, first=firsts[partition])
    return start


def open_fold(settings_text: str, view: str, version: int, states: States) -> Opened:
    """Open what a subtask works with, in the process of a TaskManager.

    Raises:
        VersionNotFound: There is no such version.
        BundleDamaged: The code is not what was deployed.
        ProjectError: The code cannot be imported.
        StoreUnavailable: Retry.
    """
    app = App(decode_settings(settings_text))
    deployed = _deployed(app, view, version)
    code, table = _bundles(app).code(deployed), deployed.table
    progress = app.views.progress(table)
    forms = sink_forms(table, schema_prefix=app.settings.postgres.schema_prefix)

    def load(keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {key: row.state for key, row in app.views.get_many(table, keys).items()}

    def new_kernel(load_committed: Load) -> Kernel:
        return Kernel(code.view, events=code.events, load=load_committed, rows_max=app.settings.engine.cache_rows)

    def share() -> float:
        report = app.control.last_report()
        return 1.0 if report is None else report.shares.get(table.name, 1.0)

    stored = Stored(
        progress=progress,
        lazy=deployed.seed is not None or any(its != Progress() for its in progress.values()),
        load=load,
        rows=forms.rows,
        dead_letters=forms.dead_letters,
        origins=forms.origins,
    )
    return Opened(SubtaskFold(new_kernel, states=states, stored=stored), Throttle(share))


def _deployed(app: App, view: str, number: int) -> Version:
    for version in app.control.versions(view):
        if version.table.version == number:
            return version
    raise VersionNotFound(view=view, version=number)


def _bundles(app: App) -> Bundles:
    """Return the code of versions, unpacked for this process alone: a TaskManager has no folder of the project."""
    return Bundles(_bundle_folder(), app.control)


@functools.cache
def _bundle_folder() -> Path:
    # Not one that somebody else could have made before: what lies in it is run.
    return Path(tempfile.mkdtemp(prefix="kappa-bundles-"))


def _numbers(numbers: Mapping[int, int]) -> str:
    return ",".join(f"{name}:{number}" for name, number in sorted(numbers.items()))


def _camel(name: str) -> str:
    """Return a name as Java has it.

    >>> _camel("upsert_progress")
    'upsertProgress'
    """
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


if __name__ == "__main__":
    # What is sent to TaskManagers is found there by its module, which must not be `__main__`.
    from kappa import flink_job  # noqa: PLW0406 - this one as a module

    sys.exit(flink_job.main(sys.argv[1:]))
