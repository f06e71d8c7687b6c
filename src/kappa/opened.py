"""A project whose parts are opened on first use, and closed together. What is done with them is not decided here.

Worker processes need no more than this; what commands ask of a project is in `kappa.app`.
"""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import Self

from kappa import parts
from kappa.config import Settings
from kappa.control.bundles import Bundles
from kappa.ports import ControlStore, Log, Logs, ProjectLock, ViewStore
from kappa.ports.log import EVENT_LOG
from kappa.ports.objects import ObjectStore
from kappa.ports.registry import SchemaRegistry


class OpenProject:
    """The parts of one project. Not for use by two threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def logs(self) -> Logs:
        """The project's logs."""
        return parts.open_logs(self.settings)

    @cached_property
    def views(self) -> ViewStore:
        """The rows of all versions."""
        return parts.open_views(self.settings)

    @cached_property
    def control(self) -> ControlStore:
        """Versions, release, epochs, rejected input."""
        return parts.open_control(self.settings)

    @cached_property
    def registry(self) -> SchemaRegistry:
        """Where the schemas of event types are registered."""
        return parts.open_registry(self.settings)

    @cached_property
    def objects(self) -> ObjectStore:
        """Where objects are kept."""
        return parts.open_objects(self.settings)

    @cached_property
    def lock(self) -> ProjectLock:
        """Who runs the project, and the right to."""
        return parts.open_lock(self.settings)

    @cached_property
    def bundles(self) -> Bundles:
        """The code of versions."""
        return Bundles(self.settings.state_folder / "bundles", self.control)

    @cached_property
    def events(self) -> Log:
        """The event log."""
        return self.open_log(EVENT_LOG)

    def open_log(self, name: str) -> Log:
        """Open a log of the project; the caller closes it."""
        return self.logs.open(name, partition_count=self.settings.log.partitions)

    def close(self) -> None:
        """Close whatever was opened. Idempotent."""
        for part in ("events", "logs", "views", "control", "lock", "registry", "objects"):
            if part in self.__dict__:
                self.__dict__.pop(part).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
