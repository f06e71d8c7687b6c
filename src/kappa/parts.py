"""Open a project's parts from its settings: the only place, with `kappa.worker`, that names an adapter.

A function per part; the settings choose the technology. What an optional extra brings is imported when it is chosen.
Whoever opens a part closes it: nothing is kept here, and nothing of what a command does is decided here.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType

import msgspec

from kappa.adapters.embedded.engine import EmbeddedEngine
from kappa.adapters.embedded.lock import FileLock
from kappa.adapters.flink.engine import FlinkEngine
from kappa.adapters.flink.job import Cluster
from kappa.adapters.flink.rest import FlinkRest
from kappa.adapters.flink.savepoints import SavepointNotes
from kappa.adapters.flink.slots import slots_for
from kappa.adapters.flink.submit import FlinkClient
from kappa.adapters.folder.objects import FolderObjects
from kappa.adapters.folder.registry import FolderRegistry
from kappa.adapters.postgres.roles import roles_sql
from kappa.adapters.sqlite.control import SqliteControl
from kappa.adapters.sqlite.log import SqliteLogs
from kappa.adapters.sqlite.views import SqliteViews
from kappa.config import WORKER_SETTINGS, Settings, encode_settings
from kappa.control.positions import lag_of, position_of
from kappa.errors import InputError, StoreUnavailable
from kappa.extras import needs_extra
from kappa.planning.jobs import JobFacts
from kappa.ports import ControlStore, Engine, Logs, ProjectLock, Version, ViewStore
from kappa.ports.log import Topic
from kappa.ports.objects import ObjectStore
from kappa.ports.profiles import Profile, Profiles
from kappa.ports.registry import SchemaRegistry, WireReader


def open_logs(settings: Settings) -> Logs:
    """Open the project's logs."""
    if settings.log.store == "sqlite":
        return SqliteLogs(settings.state_folder / "logs")
    with needs_extra("kafka"):
        from kappa.adapters.kafka.opening import open_logs as open_logs_in_kafka  # noqa: PLC0415 - an optional extra
        from kappa.adapters.kafka.topics import Durability  # noqa: PLC0415
    kafka = settings.kafka
    return open_logs_in_kafka(
        kafka.bootstrap_servers,
        project=settings.project.name,
        prefix=kafka.topic_prefix,
        durability=Durability(kafka.replication_factor, kafka.min_insync_replicas, kafka.retention_days),
        ahead_max_us=settings.log.ahead_max_us,
        options=kafka.options,
        environment=os.environ,
    )


def open_topic(settings: Settings, name: str, *, bootstrap_servers: str | None) -> Topic:
    """Open a topic that other systems write, at the brokers of [kafka] if no others are named."""
    with needs_extra("kafka"):
        from kappa.adapters.kafka.opening import open_topic as open_topic_in_kafka  # noqa: PLC0415 - an optional extra
    kafka = settings.kafka
    servers = bootstrap_servers or kafka.bootstrap_servers
    return open_topic_in_kafka(name, servers, options=kafka.options, environment=os.environ)


def open_views(settings: Settings) -> ViewStore:
    """Open the rows of all versions."""
    if settings.storage.store == "sqlite":
        return SqliteViews(settings.state_folder / "views")
    with needs_extra("postgres"):
        from kappa.adapters.postgres.opening import open_views as open_views_in_postgres  # noqa: PLC0415 - an optional extra
    postgres = settings.postgres
    return open_views_in_postgres(
        postgres.dsn,
        query_dsn=postgres.query_dsn,
        schema_prefix=postgres.schema_prefix,
        statement_timeout_s=postgres.statement_timeout_s,
    )


def open_control(settings: Settings) -> ControlStore:
    """Open the store of versions, release, epochs and rejected input."""
    if settings.storage.store == "sqlite":
        return SqliteControl(settings.state_folder / "control.db")
    with needs_extra("postgres"):
        from kappa.adapters.postgres.opening import open_control as open_control_in_postgres  # noqa: PLC0415 - an optional extra
    postgres = settings.postgres
    return open_control_in_postgres(
        postgres.dsn,
        project=settings.project.name,
        schema_prefix=postgres.schema_prefix,
        statement_timeout_s=postgres.statement_timeout_s,
    )


def postgres_roles(settings: Settings) -> str:
    """Return the SQL that makes the project's roles in PostgreSQL."""
    return roles_sql(settings.postgres.schema_prefix)


def open_registry(settings: Settings) -> SchemaRegistry:
    """Open where the schemas of event types are registered."""
    if not settings.registry.url:
        return committed_schemas(settings)
    with needs_extra("kafka"):
        from kappa.adapters.registry.registry import HttpRegistry  # noqa: PLC0415 - an optional extra
    return HttpRegistry(settings.registry.url, settings.registry.credentials)


def committed_schemas(settings: Settings) -> SchemaRegistry:
    """Open the schemas that are committed with the code."""
    return FolderRegistry(settings.schemas_folder)


def wire_reader(settings: Settings, messages: ModuleType | None) -> WireReader:
    """Return what reads the wire format; `messages` holds the generated classes of Protobuf.

    Raises:
        InputError: The settings name no registry.
    """
    if not settings.registry.url:
        raise InputError(
            "reading the wire format needs the registry that the ids in it are from",
            next_step="set registry.url in kappa.toml",
        )
    with needs_extra("kafka"):
        from kappa.adapters.registry.wire import ConfluentWire  # noqa: PLC0415 - an optional extra
    return ConfluentWire(settings.registry.url, settings.registry.credentials, messages=messages)


def open_objects(settings: Settings) -> ObjectStore:
    """Open where objects are kept."""
    if not settings.objects.url:
        return FolderObjects(settings.state_folder / "objects")
    with needs_extra("s3"):
        from kappa.adapters.s3.objects import S3Objects  # noqa: PLC0415 - an optional extra
    bucket, _, prefix = settings.objects.url.removeprefix("s3://").partition("/")
    return S3Objects(bucket, prefix, endpoint_url=settings.objects.endpoint_url)


def _open_folder(url: str, settings: Settings) -> ObjectStore | None:
    """Open a folder by its URL, if it is where the project's own objects are; None if it is elsewhere."""
    if not (url.startswith("s3://") and settings.objects.url):
        return None
    objects = msgspec.structs.replace(settings.objects, url=url)
    return open_objects(msgspec.structs.replace(settings, objects=objects))


def embedded_engine(settings: Settings, *, folding: bool = True) -> Engine:
    """Return an engine of processes on this machine, which runs nothing yet; `folding` is as in `EmbeddedEngine`."""
    return EmbeddedEngine(
        # Without -P, Python would look for modules in the folder that a worker is started in.
        [sys.executable, "-P", "-m", "kappa.worker"],
        folder=settings.state_folder / "workers",
        environment=_worker_environment(settings),
        folding=folding,
    )


def flink_engine(
    settings: Settings,
    *,
    logs: Logs,
    store: ViewStore,
    control: ControlStore,
    objects: ObjectStore,
) -> Engine:
    """Return an engine of jobs in a Flink cluster, which has asked nothing yet.

    Args:
        settings: Of the project.
        logs: Its logs.
        store: Its rows.
        control: Its versions.
        objects: Where savepoints are noted.
    """

    def lag(version: Version) -> int:
        position = position_of(version.table, store)
        with ExitStack() as opened:
            partitions = settings.log.partitions
            existing = {
                name: opened.enter_context(logs.open(name, partition_count=partitions)) for name in logs.names()
            }
            return lag_of(version.table, position, existing)

    flink = settings.flink
    client = FlinkClient(
        flink.rest_url,
        job_file=Path(__file__).with_name("flink_job.py"),
        folder=settings.state_folder / "workers",
        environment=_worker_environment(settings),
    )
    return FlinkEngine(
        Cluster(
            FlinkRest(flink.rest_url),
            client,
            SavepointNotes(objects),
            flink.state_url,
            job_profiles(settings),
            lag,
            partial(_open_folder, settings=settings),
        ),
        project=settings.project.name,
        store=store,
        control=control,
        repartitioning=embedded_engine(settings, folding=False),
    )


def job_profiles(settings: Settings) -> Profiles:
    """Return how the project's jobs work."""
    flink = settings.flink
    return Profiles(
        live=Profile(name="live", **msgspec.structs.asdict(flink.live)),
        replay=Profile(name="replay", **msgspec.structs.asdict(flink.replay)),
        choice=flink.profile,
    )


def job_facts(settings: Settings) -> JobFacts | None:
    """Return what a plan has to know of the project's jobs and their cluster; None if versions are no jobs."""
    if settings.engine.kind != "flink":
        return None
    try:
        slots = slots_for(settings.project.name, FlinkRest(settings.flink.rest_url))
    except StoreUnavailable:
        slots = None
    return JobFacts(job_profiles(settings), slots)


def _worker_environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, WORKER_SETTINGS: encode_settings(settings)}


def open_lock(settings: Settings) -> ProjectLock:
    """Open what keeps two processes from running the project: it lies where its versions do."""
    if settings.storage.store == "sqlite":
        return FileLock(settings.state_folder / "run.lock")
    with needs_extra("postgres"):
        from kappa.adapters.postgres.opening import open_lock as open_lock_in_postgres  # noqa: PLC0415 - an optional extra
    return open_lock_in_postgres(settings.postgres.dsn, schema_prefix=settings.postgres.schema_prefix)
