"""Gather what a plan is made of: the project's code, what is deployed, what logs hold and how fast they are folded.

Everything is read once. What follows from it is decided in `planning.strategies`, which sees nothing but these values.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from kappa.control.bundles import LoadedBundle
from kappa.control.checking import check_project
from kappa.control.code import LoadCode
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.positions import uncopied
from kappa.control.project import Project
from kappa.control.ranges import KEYS_MAX, RangeContent
from kappa.control.sampling import arrival_rate, sample_fold
from kappa.control.versions import LogLayout, table_of
from kappa.errors import KappaError, SeedRefused
from kappa.model.events import event_methods, event_spec
from kappa.model.fingerprint import code_digests, combine
from kappa.model.schema import ViewTable
from kappa.model.views import View, view_spec
from kappa.planning.changes import compare_parts
from kappa.planning.corrections import corrections_between, reason_against_base
from kappa.planning.estimates import LogFacts
from kappa.planning.facts import SeedOffer, ViewFacts
from kappa.planning.migration import Migration, migration_between
from kappa.planning.seeds import counts_in_range_only
from kappa.ports import Log, Logs, Seed, Version, ViewStore
from kappa.ports.log import EVENT_LOG

# From this share of its keys on, a correction that folds keys from the log's start is no better than a replay.
_NEARLY_ALL = 0.9


class Gathering:
    """What is asked of the code, the logs and the view store while a plan is made."""

    def __init__(
        self, code: LoadedBundle, *, layout: LogLayout, logs: Logs, store: ViewStore, load_code: LoadCode
    ) -> None:
        """Prepare to look at `code`, which is what would be deployed; `load_code` gives what is."""
        self._code, self._layout, self._logs, self._store, self._load_code = code, layout, logs, store, load_code

    def fingerprint(self, view: type[View]) -> str:
        """Return the fingerprint of a view's code."""
        return combine(fingerprint_parts(view, self._code.root))

    def view(self, view: type[View], primary: Version | None, *, versions: Sequence[Version], named: bool) -> ViewFacts:
        """Return what is known of a view, as far as it matters: little, if its code has not changed.

        Args:
            view: The view.
            primary: The version that readers see, or None.
            versions: All that were ever deployed.
            named: Whether this very view was asked for.
        """
        spec = view_spec(view)
        parts = fingerprint_parts(view, self._code.root)
        facts = ViewFacts(
            table=table_of(spec, 0, self._layout),
            fingerprint=combine(parts),
            parts=parts,
            expectations=spec.expect,
        )
        unchanged = primary is not None and primary.fingerprint == facts.fingerprint
        anew = unchanged and named and counts_in_range_only(primary, versions)
        if unchanged and not anew:
            return facts
        return msgspec.structs.replace(
            facts,
            seed=self._migration(view, parts, primary, versions) if primary and not anew else "",
            anew=anew,
            unsound=self._flaw(view),
            users=code_users(view, self._code.root),
            worker_rate=self._worker_rate(view, facts.table, primary),
        )

    def in_range(
        self, view: type[View], primary: Version, *, seed: Seed, content: RangeContent, lost: Mapping[int, int]
    ) -> ViewFacts:
        """Return what is known of a view whose new code is to count in a range only.

        Raises:
            SeedRefused: Its rows cannot be corrected.
        """
        name = primary.table.view
        facts = self.view(view, primary, versions=(), named=True)  # of others nothing is asked: the code has changed
        old = self._load_code(primary).view
        corrections = reason_against_base(primary) or corrections_between(
            old, view, compare_parts(primary.parts, facts.parts)
        )
        if isinstance(corrections, str):
            raise SeedRefused(view=name, reason=corrections)
        if lost:
            missing = ", ".join(f"offsets 0 to {start - 1:,} of partition {each}" for each, start in lost.items())
            raise SeedRefused(
                view=name,
                reason=f"the log no longer holds {missing}, where events of the range may have been",
                next_step="keep the former logic for the past: no version can be made of history that is gone",
            )
        keys = f"{KEYS_MAX:,} or more" if content.keys == KEYS_MAX else f"{content.keys:,}"
        notes = [
            f"the range holds {content.events:,} events of {keys} keys",
            "events that arrive from now on are folded by the new code, whatever their time",
        ]
        if content.passed_over:
            notes.append(
                f"~{content.passed_over:,} events that were appended before it were not looked at: log.ahead_max says "
                "that none of them is dated so far ahead"
            )
        rows = self._store.row_count(primary.table)
        if corrections.refold and content.keys >= _NEARLY_ALL * min(rows, KEYS_MAX):
            notes.append(
                "nearly all keys are affected, so this reads as much as a full replay: if the new code may count for "
                f"all events, prefer kappa plan {name}"
            )
        return msgspec.structs.replace(
            facts, seed=SeedOffer(seed, corrections.explanation), notes=tuple(notes), worker_rate=None
        )

    def log(self, name: str) -> LogFacts:
        """Return what is known of a log; one that is still to be written holds what the event log holds."""
        with ExitStack() as opened:
            known = {each: opened.enter_context(self._open(each)) for each in self._known(name)}
            log = known.get(name) or known[EVENT_LOG]
            to_copy = uncopied(name, known) if name in known else 0
            share, rest = divmod(to_copy, log.partition_count)
            ends = {partition: end + share + (partition < rest) for partition, end in log.ends().items()}
            rate = arrival_rate(known[EVENT_LOG], now_us=time.time_ns() // 1_000)
            return LogFacts(name, log.starts(), ends, log.size_bytes(), rate, exact=not log.has_gaps)

    def _known(self, name: str) -> list[str]:
        return [EVENT_LOG, *(each for each in self._logs.names() if each == name and each != EVENT_LOG)]

    def _open(self, name: str) -> Log:
        return self._logs.open(name, partition_count=self._layout.partition_count)

    def _flaw(self, view: type[View]) -> str:
        """Return why the view's rows would not be the same again, or nothing."""
        spec = view_spec(view)
        alone = Project({event_spec(event).name: event for event in spec.events}, {spec.name: view})
        errors = [each for each in check_project(alone, self._code.root).findings if each.severity == "error"]
        for each in errors:
            file = Path(each.file)
            # As the author knows it, and not where the bundle is unpacked.
            place = file.relative_to(self._code.root) if file.is_relative_to(self._code.root) else file
            return f"{each.what} ({place}:{each.line}, in {each.function})"
        return ""

    def _migration(
        self, view: type[View], parts: Mapping[str, str], primary: Version, versions: Sequence[Version]
    ) -> SeedOffer | str:
        number = primary.table.version
        try:
            old = self._load_code(primary).view
        except KappaError as error:
            return f"the code of v{number} cannot be read: {error.message}"
        outcome: Migration | str = migration_between(
            old,
            view,
            changes=compare_parts(primary.parts, parts),
            primary=number,
            dead_letters=self._store.dead_letter_count(primary.table),
            in_range_only=counts_in_range_only(primary, versions),
        )
        if isinstance(outcome, str):
            return outcome
        return SeedOffer(Seed("migration", number), outcome.explanation)

    def _worker_rate(self, view: type[View], table: ViewTable, primary: Version | None) -> float | None:
        written = table.log in self._logs.names()
        with self._open(table.log if written else EVENT_LOG) as log:
            events = sum(log.ends().values()) - sum(log.starts().values())
            sample = sample_fold(
                view,
                tuple(self._code.project.events.values()),
                log,
                rekeyed=not written and table.log != EVENT_LOG,
                clock=time.perf_counter,
            )
        same_key = primary is not None and primary.table.key == table.key
        rows = self._store.row_count(primary.table) if primary is not None and same_key else None
        return sample.rate(events=events, rows=rows)


def code_users(view: type[View], root: Path) -> dict[str, tuple[str, ...]]:
    """Return code name -> the handlers of a view, and the events that it folds, which run that code."""
    spec = view_spec(view)
    users: defaultdict[str, list[str]] = defaultdict(list)
    for handler in spec.handlers.values():
        for name in code_digests([handler.function], root, owner=view):
            users[name].append(f"handler {handler.name}")
    for event in spec.events:
        functions = [*event_spec(event).upcasters.values(), *event_methods(event)]
        for name in code_digests(functions, root, owner=event):
            users[name].append(f"event {event_spec(event).name}")
    return {name: tuple(dict.fromkeys(these)) for name, these in users.items()}
