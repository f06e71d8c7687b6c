"""What a plan is made of: a project's code, what is deployed, and what logs hold. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kappa.model.schema import ViewTable
from kappa.planning.estimates import LogFacts
from kappa.planning.jobs import JobFacts
from kappa.planning.plans import Strategy
from kappa.ports.release import Release
from kappa.ports.versions import Seed, Version

SHARES = (1.0, 10.0, 50.0, 100.0)


class SeedOffer(msgspec.Struct, frozen=True):
    """Rows that a version can start from, so that it need not replay the log.

    Attributes:
        seed: What they are made of.
        explanation: Why that is right, for people.
    """

    seed: Seed
    explanation: str


class ViewFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a view in the project's code.

    Attributes:
        table: The table that its next version would get.
        fingerprint, parts, expectations: As in `Deployment`.
        seed: What a version could start from, or why only the log will do; empty if that was not asked.
        anew: Whether the log is to be replayed even if the code is the primary's own, because that counts it for a
            range of events only.
        unsound: Why a replay would give other rows each time; empty if it would not.
        users: Code name -> the handlers and events that run it.
        worker_rate: Records per second that one worker folds; None if that was not measured.
        notes: What else people should know before they decide, a sentence each.
    """

    table: ViewTable
    fingerprint: str
    parts: Mapping[str, str]
    expectations: Mapping[str, str] = {}
    seed: SeedOffer | str = ""
    anew: bool = False
    unsound: str = ""
    users: Mapping[str, tuple[str, ...]] = {}
    worker_rate: float | None = None
    notes: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a plan is made of.

    Attributes:
        strategy: What was asked for.
        shares: Per cent of the keys, rising, that an incremental plan serves from a candidate before it promotes it.
        pause_s: For how long it serves each of them before it goes on.
        bundle: Id of the project's code.
        views: The views of the project that are to be planned, by name.
        gone: Deployed views that the project's code has no more.
        versions: All that were ever deployed, by view and number.
        release: The current one.
        logs: Those that the views read, by name.
        cores: Of this machine.
        jobs: Where versions are jobs, how these work; None where they are not.
        warnings: What the plan says of the code beyond its views.
    """

    strategy: Strategy
    shares: tuple[float, ...] = SHARES
    pause_s: float = 0.0
    bundle: str
    views: Mapping[str, ViewFacts]
    gone: tuple[str, ...] = ()
    versions: Sequence[Version]
    release: Release
    logs: Mapping[str, LogFacts]
    cores: int
    jobs: JobFacts | None = None
    warnings: tuple[str, ...] = ()
