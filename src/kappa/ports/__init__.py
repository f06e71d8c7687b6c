"""The ports: small typed protocols between the kernel's world and any technology. An adapter implements one.

`kappa.testing` ships a conformance suite for each.
"""

from kappa.ports.control import ControlStore, Release, Version
from kappa.ports.engine import Engine, WorkerHealth
from kappa.ports.log import Log, Logs
from kappa.ports.views import DeadLetterEntry, QueryResult, StoredRow, ViewStore, ViewWriter

__all__ = [
    "ControlStore",
    "DeadLetterEntry",
    "Engine",
    "Log",
    "Logs",
    "QueryResult",
    "Release",
    "StoredRow",
    "Version",
    "ViewStore",
    "ViewWriter",
    "WorkerHealth",
]
