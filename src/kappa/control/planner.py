"""Make plans: compare the project's code with what is deployed, and keep what is to be done about it.

The code is stored first, and everything is read from that copy, so a plan stays what it was when the working tree
changes. It deploys nothing: a plan is carried out by `applying`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from kappa.control.bundles import Bundles, LoadedBundle
from kappa.control.history import new_entry
from kappa.control.plan_facts import Gathering
from kappa.control.ranges import TimeRange, read_range
from kappa.control.versions import LogLayout
from kappa.errors import InputError, ViewNotFound
from kappa.model.events import Event
from kappa.planning.facts import SHARES, Facts, ViewFacts
from kappa.planning.jobs import JobFacts
from kappa.planning.plans import Plan, Strategy
from kappa.planning.releases import SHARE_PERCENT_MIN, is_share
from kappa.planning.seeds import counts_in_range_only
from kappa.planning.strategies import build_plan
from kappa.ports import ControlStore, Logs, PlanRecord, PlanState, Release, Seed, Version, ViewStore


class Planner:
    """Plans for one project, in the name of one person."""

    def __init__(  # noqa: PLR0913 - all that a plan looks at
        self,
        root: Path,
        modules: Sequence[str],
        *,
        bundles: Bundles,
        control: ControlStore,
        store: ViewStore,
        logs: Logs,
        layout: LogLayout,
        actor: str,
        warnings: Callable[[Mapping[str, type[Event]]], tuple[str, ...]],
        jobs: Callable[[], JobFacts | None] = lambda: None,
    ) -> None:
        """Prepare to plan for the project in `root`, defined in `modules`.

        `layout` is for new versions; `warnings` says what is wrong with event types and does not stand in the way;
        `jobs` gives what is to be known of jobs, where versions are such.
        """
        self._root, self._modules, self._bundles = root, modules, bundles
        self._control, self._store, self._logs = control, store, logs
        self._layout, self._actor, self._warnings, self._jobs = layout, actor, warnings, jobs

    def plan(
        self,
        views: Sequence[str] = (),
        *,
        strategy: Strategy = "full",
        shares: Sequence[float] = SHARES,
        pause: timedelta = timedelta(0),
    ) -> tuple[PlanRecord, Plan]:
        """Plan for some of the project's views, or all.

        Args:
            views: Their names; none stand for all. One that is named is replayed even if its code has not changed, if
                its primary counts it for a range of events only.
            strategy: `full`, `parallel` or `incremental`.
            shares: Of an incremental plan; per cent, rising.
            pause: For how long it serves each of them before it goes on.

        Raises:
            InputError: A view or a share cannot be.
            ProjectError: The code cannot be used.
        """
        assert strategy != "range", "use `plan_range`"
        if list(shares) != sorted(set(shares)) or not all(is_share(share) for share in shares):
            raise InputError(
                f"shares rise, and are {SHARE_PERCENT_MIN:g} to 100 in whole hundredths, "
                f"got {', '.join(f'{share:g}' for share in shares)}",
                next_step="for example: --shares 1,10,50,100",
            )
        bundle, code = self._store_code()
        known = code.project.views
        for name in views:
            if name not in known:
                raise InputError(
                    f"the project's code has no view '{name}'", next_step=f"choose from: {', '.join(known)}"
                )
        release, versions = self._control.release(), self._control.versions()
        gathering = self._gathering(code)
        facts = {
            name: gathering.view(known[name], _primary(name, release, versions), versions=versions, named=name in views)
            for name in views or tuple(known)
        }
        gone = {version.table.view for version in versions if version.retired_at is None} - known.keys()
        return self._keep(
            Facts(
                strategy=strategy,
                shares=tuple(shares),
                pause_s=pause.total_seconds(),
                bundle=bundle,
                views=facts,
                gone=() if views else tuple(sorted(gone)),
                versions=versions,
                release=release,
                logs={name: gathering.log(name) for name in _changed_logs(facts, release, versions)},
                cores=os.cpu_count() or 1,
                jobs=self._jobs(),
                warnings=self._warnings(code.project.events),
            )
        )

    def plan_range(self, view: str, wanted: TimeRange) -> tuple[PlanRecord, Plan]:
        """Plan to let a view's new code count for events of a range of event time, and the former code for the others.

        Raises:
            ViewNotFound: No such view is deployed.
            InputError: The range cannot be, or the code has not changed.
            SeedRefused: Its rows cannot be corrected in a range.
        """
        release, versions = self._control.release(), self._control.versions()
        primary = _primary(view, release, versions)
        if primary is None:
            raise ViewNotFound(view=view, known=tuple(release.primaries))
        bundle, code = self._store_code()
        if view not in code.project.views:
            raise InputError(f"the project's code has no view '{view}' any more", next_step="see: kappa plan")
        gathering = self._gathering(code)
        new, number = code.project.views[view], primary.table.version
        if gathering.fingerprint(new) == primary.fingerprint:
            if counts_in_range_only(primary, versions):
                raise InputError(
                    f"v{number} counts this code for another range already, and a range is not added to a range",
                    next_step=f"count it for all events: kappa plan {view}; or return to the former code first, then "
                    "replay a range that holds both",
                )
            raise InputError(
                f"the code of '{view}' has not changed since v{number}: a range replay would change nothing",
                next_step="change the view's code first, then say for which range it is to count",
            )
        with self._logs.open(primary.table.log, partition_count=self._layout.partition_count) as log:
            content = read_range(log, wanted, now=datetime.now(UTC))
        log_facts = gathering.log(primary.table.log)
        seed = Seed("range", number, wanted.start_us, wanted.end_us)
        facts = gathering.in_range(new, primary, seed=seed, content=content, lost=log_facts.lost)
        return self._keep(
            Facts(
                strategy="range",
                bundle=bundle,
                views={view: facts},
                versions=versions,
                release=release,
                logs={log_facts.name: log_facts},
                cores=os.cpu_count() or 1,
                jobs=self._jobs(),
                warnings=self._warnings(code.project.events),
            )
        )

    def _store_code(self) -> tuple[str, LoadedBundle]:
        bundle = self._bundles.store(self._root, self._modules)
        return bundle, self._bundles.load(bundle)

    def _gathering(self, code: LoadedBundle) -> Gathering:
        return Gathering(code, layout=self._layout, logs=self._logs, store=self._store, load_code=self._bundles.code)

    def _keep(self, facts: Facts) -> tuple[PlanRecord, Plan]:
        """Keep the plan for what was gathered. One that is refused is abandoned at once: nobody can apply it."""
        plan = build_plan(facts)
        record = self._control.add_plan(msgspec.json.encode(plan), actor=self._actor)
        if plan.refused:
            self._control.advance_plan(record.number, steps_done=0, state=PlanState.ABANDONED)
        changed = ", ".join(f"{each.view} v{each.candidate}" for each in plan.views if each.candidate is not None)
        refused = ", ".join(each.view for each in plan.refused)
        detail = f"plan {record.number}, {plan.strategy}: " + (
            f"{refused} refused" if refused else changed or "nothing to do"
        )
        self._control.record(new_entry(self._actor, "plan", detail=detail, entry_id=f"plan {record.number} made"))
        return record, plan


def _primary(view: str, release: Release, versions: Sequence[Version]) -> Version | None:
    number = release.primaries.get(view)
    return next((each for each in versions if (each.table.view, each.table.version) == (view, number)), None)


def _changed_logs(facts: dict[str, ViewFacts], release: Release, versions: Sequence[Version]) -> list[str]:
    """Return the logs that a replay would read."""
    primaries = {name: _primary(name, release, versions) for name in facts}
    return sorted(
        {
            view.table.log
            for name, view in facts.items()
            if (primary := primaries[name]) is None or primary.fingerprint != view.fingerprint or view.anew
        }
    )
