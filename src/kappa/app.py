"""The composition root: settings in, wired parts out. The only place, with `kappa.worker`, that names an adapter.

It holds no rules: what to do is decided in `control` and `planning`, what to show in `cli`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from kappa.adapters.embedded.engine import EmbeddedEngine
from kappa.adapters.embedded.lock import ProjectLock, held_by
from kappa.adapters.sqlite.control import SqliteControl
from kappa.adapters.sqlite.log import SqliteLogs
from kappa.adapters.sqlite.views import SqliteViews
from kappa.config import Settings
from kappa.control.checking import CheckReport, check_project, refuse_unsound
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
from kappa.control.doctor import (
    Finding,
    Verdict,
    check_folder,
    check_versions,
    describe_log,
    describe_project,
    finding_of,
    findings_of,
)
from kappa.control.fingerprints import fingerprints
from kappa.control.ingest import (
    EventReader,
    Ingestion,
    IngestReport,
    Input,
    InputMapping,
    Retry,
    resolve_mapping,
)
from kappa.control.project import Project, load_project
from kappa.control.reading import Row, read_row, served_tables
from kappa.control.running import Run
from kappa.control.status import Status, read_status
from kappa.control.versions import LogLayout, deploy_views
from kappa.ports import ControlStore, Log, Logs, QueryResult, ViewStore
from kappa.ports.log import EVENT_LOG

LOCK_FILE = "run.lock"


class App:
    """One project, opened. Parts are opened on first use, and closed together."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def logs(self) -> Logs:
        """The project's logs."""
        return SqliteLogs(self.settings.state_folder / "logs")

    @cached_property
    def views(self) -> ViewStore:
        """The rows of all versions."""
        return SqliteViews(self.settings.state_folder / "views")

    @cached_property
    def control(self) -> ControlStore:
        """Versions, release, epochs, rejected input."""
        return SqliteControl(self.settings.state_folder / "control.db")

    @cached_property
    def project(self) -> Project:
        """The project's events and views, imported."""
        return load_project(self.settings.root, self.settings.project.modules)

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """View name -> fingerprint of the project's code for it."""
        return fingerprints(self.project, self.settings.root)

    @property
    def _lock_file(self) -> Path:
        return self.settings.state_folder / LOCK_FILE

    @cached_property
    def events(self) -> Log:
        """The event log."""
        return self.open_log(EVENT_LOG)

    def open_log(self, name: str) -> Log:
        """Open a log of the project; the caller closes it."""
        return self.logs.open(name, partition_count=self.settings.log.partitions)

    def mapping(self, name: str) -> InputMapping:
        """Return how input becomes events: an `InputMapping` by its name."""
        return resolve_mapping(name, root=self.settings.root, events=lambda: self.project.events)

    def ingest(self, given: Input, mapping: InputMapping, *, standard_input: BinaryIO) -> Iterator[IngestReport]:
        """Append an input's events to the log, going on where the last run stopped; report after each transaction."""
        ingestion = Ingestion(
            given.source, log=self.events, control=self.control, reader=self._event_reader(), mapping=mapping
        )
        yield from ingestion.run(given.blocks(ingestion.state, standard_input=standard_input))

    def retry(self) -> Retry:
        """Return what tries rejected input again."""
        return Retry(log=self.events, control=self.control, reader=self._event_reader(), mapping=self.mapping)

    def _event_reader(self) -> EventReader:
        return EventReader(self.settings.log.key)

    def status(self) -> Status:
        """Read how the project is doing."""
        with ExitStack() as opened:
            logs = {name: opened.enter_context(self.open_log(name)) for name in self.logs.names()}
            holder = held_by(self._lock_file)
            return read_status(
                self.settings.project.name,
                logs=logs,
                views=self.views,
                control=self.control,
                now=datetime.now(UTC),
                running_in=holder.pid if holder else None,
            )

    def row(self, view: str, key: Sequence[str]) -> Row:
        """Read the row of a key, whose values are given as text, from the view's primary version."""
        return read_row(view, key, control=self.control, views=self.views)

    def query(self, sql: str, *, rows_max: int, timeout_s: float) -> QueryResult:
        """Answer a read-only query over the primary versions."""
        return self.views.query(sql, views=served_tables(self.control), rows_max=rows_max, timeout_s=timeout_s)

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
        holder = held_by(self._lock_file)
        yield Finding("running", Verdict.OK, f"in process {holder.pid}, since {holder.since}" if holder else "no")
        code = finding_of("code", lambda: describe_project(self.project))
        yield code
        yield finding_of("log", lambda: describe_log(self.events))
        if code.verdict is Verdict.OK:
            yield from findings_of("views", lambda: check_versions(self.project, self.fingerprints, self.control))

    @contextmanager
    def run(self, *, rebuild: bool) -> Iterator[Run]:
        """Run the project's versions until the block ends.

        Raises:
            AlreadyRunning: Another process runs them.
            DefinitionError: `check` finds an error: a replay would give other rows.
            ViewChanged: A view's code differs from its primary version, and `rebuild` is false.
        """
        folder = self.settings.state_folder
        with ProjectLock(self._lock_file, since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"):
            refuse_unsound(self.check())
            plan = deploy_views(
                self.project,
                self.fingerprints,
                control=self.control,
                store=self.views,
                layout=LogLayout(
                    self.settings.log.key, self.settings.log.partitions, group_count=self.settings.engine.workers
                ),
                rebuild=rebuild,
            )
            engine = EmbeddedEngine(
                [sys.executable, "-m", "kappa.worker", str(self.settings.root)],
                folder=folder / "workers",
                environment=os.environ,
            )
            run = Run(plan, engine=engine, control=self.control, store=self.views, open_log=self.open_log)
            try:
                run.start()
                yield run
            finally:
                run.close()

    def close(self) -> None:
        """Close whatever was opened. Idempotent."""
        for part in ("events", "views", "control"):
            if part in self.__dict__:
                self.__dict__.pop(part).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
