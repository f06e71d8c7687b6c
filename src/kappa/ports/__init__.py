"""The ports: small typed protocols between the kernel's world and any technology. An adapter implements one.

`kappa.testing` ships a conformance suite for each.
"""

from kappa.ports.control import ControlStore, RejectedInput
from kappa.ports.engine import Engine, RunReport, WorkerHealth
from kappa.ports.lock import Holder, ProjectLock
from kappa.ports.log import Log, Logs
from kappa.ports.plans import DiffRecord, PlanRecord, PlanState
from kappa.ports.release import Canary, Former, HistoryEntry, Release
from kappa.ports.versions import BundleEntry, Deployment, Seed, Version
from kappa.ports.views import DeadLetterEntry, QueryResult, Snapshot, StoredRow, ViewStore, ViewWriter

__all__ = [
    "BundleEntry",
    "Canary",
    "ControlStore",
    "DeadLetterEntry",
    "Deployment",
    "DiffRecord",
    "Engine",
    "Former",
    "HistoryEntry",
    "Holder",
    "Log",
    "Logs",
    "PlanRecord",
    "PlanState",
    "ProjectLock",
    "QueryResult",
    "RejectedInput",
    "Release",
    "RunReport",
    "Seed",
    "Snapshot",
    "StoredRow",
    "Version",
    "ViewStore",
    "ViewWriter",
    "WorkerHealth",
]
