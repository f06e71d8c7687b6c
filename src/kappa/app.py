"""One project, and what the command line asks of it: each a call or two into `control`.

It holds no rules: what to do is decided in `control` and `planning`, what to show in `cli`.
"""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import BinaryIO

from kappa import parts
from kappa.control.advance import Advance
from kappa.control.applying import Applying
from kappa.control.checking import CheckReport, check_project, refuse_unsound
from kappa.control.counting import counting_of
from kappa.control.dead_letters import (
    InputId,
    LetterId,
    SetAside,
    SetAsideList,
    find_letter,
    find_set_aside,
    list_set_aside,
    why_not_folded,
)
from kappa.control.diffing import diff_and_keep, versions_to_compare
from kappa.control.doctor import (
    Finding,
    Verdict,
    check_folder,
    check_versions,
    describe_holder,
    describe_log,
    describe_project,
    describe_warnings,
    finding_of,
    findings_of,
)
from kappa.control.explaining import Happening, Outcome, explain_row, version_to_explain
from kappa.control.fingerprints import fingerprints
from kappa.control.following import Runner
from kappa.control.ingest import (
    EventReader,
    Ingestion,
    IngestReport,
    Input,
    InputMapping,
    MappingParts,
    Retry,
    Target,
    TopicIngestion,
    resolve_mapping,
    validation,
)
from kappa.control.janitor import Janitor
from kappa.control.plan_records import refuse_changed_code
from kappa.control.planner import Planner
from kappa.control.project import Project, load_project
from kappa.control.reading import Row, read_query, read_row
from kappa.control.releasing import Releasing
from kappa.control.returning import WARM_S
from kappa.control.running import Run
from kappa.control.schemas import Schemas, schema_warnings
from kappa.control.status import Status, read_status
from kappa.control.version_list import VersionList, list_versions
from kappa.control.versions import FirstVersions, LogLayout
from kappa.model.events import Event
from kappa.opened import OpenProject
from kappa.planning.compatibility import Compatibility
from kappa.planning.diffs import DiffReport
from kappa.ports import Engine, Holder, PlanRecord, ProjectLock, QueryResult
from kappa.ports.log import Topic
from kappa.ports.registry import SchemaRegistry
from kappa.ports.waiting import Waiter, patiently


class App(OpenProject):
    """One project, as commands see it."""

    @property
    def postgres_roles(self) -> str:
        """The SQL that makes the project's roles in PostgreSQL."""
        return parts.postgres_roles(self.settings)

    @cached_property
    def actor(self) -> str:
        """Who does what is done here: the user's name on this machine."""
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a user id without a name, as in some containers
            return f"user {os.getuid()}"

    @property
    def layout(self) -> LogLayout:
        """What a new version must know about the logs."""
        settings = self.settings
        return LogLayout(settings.log.key, settings.log.partitions, group_count=settings.engine.workers)

    @cached_property
    def project(self) -> Project:
        """The project's events and views, imported."""
        return load_project(self.settings.root, self.settings.project.modules)

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """View name -> fingerprint of the project's code for it."""
        return fingerprints(self.project, self.settings.root)

    def mapping(self, name: str) -> InputMapping:
        """Return how input becomes events: an `InputMapping` by its name."""
        mapping_parts = MappingParts(
            events=lambda: self.project.events,
            wire_reader=lambda messages: parts.wire_reader(self.settings, messages),
            validation=lambda: validation(self.registry, project=self.settings.project.name),
        )
        return resolve_mapping(name, root=self.settings.root, parts=mapping_parts)

    def ingest(
        self, given: Input, mapping: InputMapping, *, standard_input: BinaryIO, waiter: Waiter
    ) -> Iterator[IngestReport]:
        """Append an input's events to the log, going on where the last run stopped; report after each transaction."""
        ingestion = Ingestion(given.source, self._target(mapping, waiter))
        yield from ingestion.run(given.blocks(ingestion.state, standard_input=standard_input))

    @contextmanager
    def topic(self, name: str, *, bootstrap_servers: str | None, waiter: Waiter) -> Iterator[Topic]:
        """Open a topic that other systems write, at the brokers of [kafka] if no others are named."""
        topic = patiently(waiter, parts.open_topic, self.settings, name, bootstrap_servers=bootstrap_servers)
        with closing(topic):
            yield topic

    def ingest_topic(
        self,
        topic: Topic,
        mapping: InputMapping,
        *,
        source: str,
        skip_lost: bool,
        pieces_max: int,
        waiter: Waiter,
    ) -> TopicIngestion:
        """Return what takes a topic into the log; the arguments are those of `TopicIngestion`."""
        into = self._target(mapping, waiter)
        return TopicIngestion(topic, into, source=source, skip_lost=skip_lost, pieces_max=pieces_max)

    def _target(self, mapping: InputMapping, waiter: Waiter) -> Target:
        return Target(
            log=patiently(waiter, lambda: self.events),
            control=patiently(waiter, lambda: self.control),
            reader=self._event_reader(),
            mapping=mapping,
            waiter=waiter,
        )

    def retry(self) -> Retry:
        """Return what tries rejected input again."""
        return Retry(log=self.events, control=self.control, reader=self._event_reader(), mapping=self.mapping)

    @property
    def compatibility(self) -> Compatibility:
        """What a change of an event type must leave possible."""
        return Compatibility(self.settings.registry.compatibility)

    def schemas(self, *, committed: bool = False) -> Schemas:
        """Return the schemas of the project's events, and what was registered for them, or committed."""
        registry = parts.committed_schemas(self.settings) if committed else self.registry
        return self._schemas_of(self.project.events, registry)

    def _schemas_of(self, events: Mapping[str, type[Event]], registry: SchemaRegistry) -> Schemas:
        return Schemas(events, registry=registry, project=self.settings.project.name)

    def export_schemas(self) -> int:
        """Write the registered schemas into the folder that is committed, and return how many there are."""
        return self.schemas().export(parts.committed_schemas(self.settings))

    def _event_reader(self) -> EventReader:
        return EventReader(self.settings.log.key)

    def status(self) -> Status:
        """Read how the project is doing."""
        with ExitStack() as opened:
            logs = {name: opened.enter_context(self.open_log(name)) for name in self.logs.names()}
            return read_status(
                self.settings.project.name,
                logs=logs,
                views=self.views,
                control=self.control,
                now=datetime.now(UTC),
                running_in=self.lock.holder(),
            )

    def version_list(self, view: str | None) -> VersionList:
        """List the versions of a view, or of all."""
        with ExitStack() as opened:
            return list_versions(
                view,
                control=self.control,
                views=self.views,
                logs={name: opened.enter_context(self.open_log(name)) for name in self.logs.names()},
                fingerprints=lambda: self.fingerprints,
                now=datetime.now(UTC),
            )

    @cached_property
    def releasing(self) -> Releasing:
        """What changes the release."""
        warm_s = WARM_S
        if self.settings.engine.kind == "flink":
            # A job's position is that of its last checkpoint.
            warm_s = max(warm_s, 3 * self.settings.flink.live.checkpoint_interval_s)
        return Releasing(
            control=self.control, store=self.views, open_log=self.open_log, actor=self.actor, warm_s=warm_s
        )

    @cached_property
    def planner(self) -> Planner:
        """What compares the project's code with what is deployed."""
        return Planner(
            self.settings.root,
            self.settings.project.modules,
            bundles=self.bundles,
            control=self.control,
            store=self.views,
            logs=self.logs,
            layout=self.layout,
            actor=self.actor,
            warnings=lambda events: schema_warnings(self._schemas_of(events, self.registry), self.compatibility),
            jobs=lambda: parts.job_facts(self.settings),
        )

    @cached_property
    def janitor(self) -> Janitor:
        """What deletes what nobody needs any more."""
        return Janitor(
            control=self.control,
            store=self.views,
            forget_bundle=self.bundles.forget,
            grace=self.settings.janitor.grace_time,
            actor=self.actor,
        )

    def row(self, view: str, key: Sequence[str], *, version: int | None = None) -> Row:
        """Read the row of a key, whose values are given as text, from a version, by default the one that serves it."""
        return read_row(view, key, control=self.control, views=self.views, version=version)

    def diff(
        self, view: str, left: int | None, right: int | None, *, samples_max: int, keys_about: int | None
    ) -> Generator[Advance, None, DiffReport]:
        """Compare two versions of a view, by default the primary and the newest candidate, and keep the report."""
        versions = versions_to_compare(view, left, right, control=self.control)
        with self.open_log(versions[0].table.log) as log:
            report = yield from diff_and_keep(
                *versions,
                store=self.views,
                control=self.control,
                log=log,
                load_code=self.bundles.code,
                samples_max=samples_max,
                keys_about=keys_about,
            )
        return report

    def why(
        self, view: str, key: Sequence[str], *, version: int | None, last: int | None
    ) -> Iterator[Advance | Happening | Outcome]:
        """Tell what each event of a key did to its row in a version, by default the primary."""
        explained = version_to_explain(view, version, control=self.control)
        with self.open_log(explained.table.log) as log:
            counting = counting_of(explained, self.control.versions(view), self.bundles.code)
            yield from explain_row(explained, key, store=self.views, log=log, counting=counting, last=last)

    def query(self, sql: str, *, rows_max: int, timeout_s: float) -> QueryResult:
        """Answer a read-only query over the primary versions."""
        return read_query(sql, control=self.control, views=self.views, rows_max=rows_max, timeout_s=timeout_s)

    def set_aside(self, *, limit: int) -> SetAsideList:
        """List rejected input and dead letters."""
        return list_set_aside(control=self.control, views=self.views, limit=limit)

    def find_set_aside(self, wanted: InputId | LetterId) -> SetAside:
        """Find one piece of rejected input or dead letter."""
        return find_set_aside(wanted, control=self.control, views=self.views)

    def why_not_folded(self, wanted: LetterId) -> str | None:
        """Return why today's code cannot fold a dead letter, or None if it can."""
        _, letter = find_letter(wanted, control=self.control, views=self.views)
        if wanted.view not in self.project.views:
            return f"the project's code has no view '{wanted.view}' any more"
        view = self.project.views[wanted.view]
        return why_not_folded(letter, view, events=self.project.events.values())

    def check(self) -> CheckReport:
        """Check the project's code."""
        return check_project(self.project, self.settings.root)

    def findings(self) -> Iterator[Finding]:
        """Check the project: its folder, code, log and versions."""
        yield from check_folder(self.settings.state_folder)
        yield finding_of("running", lambda: describe_holder(self.lock.holder()))
        code = finding_of("code", lambda: describe_project(self.project))
        yield code
        yield finding_of("log", lambda: describe_log(self.events))
        yield from findings_of("log", lambda: describe_warnings(self.logs.warnings()))
        if code.verdict is Verdict.OK:
            yield from findings_of("views", lambda: check_versions(self.project, self.fingerprints, self.control))

    @contextmanager
    def run(self) -> Iterator[Run]:
        """Deploy the views that are new, and run all versions until the block ends.

        Raises:
            AlreadyRunning: Another process runs them.
            ProjectError, DefinitionError: The code is broken or unsound, and not all of it is deployed already.
        """
        first = FirstVersions(
            self.settings.root,
            self.settings.project.modules,
            bundles=self.bundles,
            control=self.control,
            store=self.views,
        )
        with self._locked() as lock:
            notes = first.deploy(self._sound_project, layout=self.layout, actor=self.actor)
            with closing(self._new_run(lock)) as run:
                run.notes = notes
                yield run

    @contextmanager
    def runner(self) -> Iterator[Runner]:
        """See to it that somebody runs the versions while the block polls: this process if nobody else does."""
        with closing(Runner(self._deployed_run, self.control)) as runner:
            yield runner

    @contextmanager
    def applying(self) -> Iterator[Applying]:
        """Give what carries out plans, while somebody runs the versions."""
        with self.runner() as runner:
            yield Applying(
                control=self.control,
                store=self.views,
                open_log=self.open_log,
                load_code=self.bundles.code,
                runner=runner,
                releasing=self.releasing,
                actor=self.actor,
            )

    def refuse_changed_code(self, record: PlanRecord) -> None:
        """Refuse a plan of other code than the project's."""
        refuse_changed_code(record, self.fingerprints)

    @contextmanager
    def _deployed_run(self) -> Iterator[Run]:
        with self._locked() as lock, closing(self._new_run(lock)) as run:
            yield run

    @contextmanager
    def _locked(self) -> Iterator[ProjectLock]:
        with closing(parts.open_lock(self.settings)) as lock:
            lock.take(Holder(platform.node(), os.getpid(), datetime.now(UTC).replace(microsecond=0)))
            yield lock

    def _sound_project(self) -> Project:
        refuse_unsound(self.check())
        return self.project

    def _new_run(self, lock: ProjectLock) -> Run:
        return Run(
            engine=self._new_engine(),
            control=self.control,
            store=self.views,
            open_log=self.open_log,
            live_lag_max=self.settings.engine.live_lag_max,
            housekeeping=lambda: self.janitor.run(datetime.now(UTC)),
            check_lock=lock.check,
        )

    def _new_engine(self) -> Engine:
        if self.settings.engine.kind == "embedded":
            return parts.embedded_engine(self.settings)
        return parts.flink_engine(
            self.settings, logs=self.logs, store=self.views, control=self.control, objects=self.objects
        )
