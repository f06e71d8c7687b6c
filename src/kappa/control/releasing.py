"""Change what readers see: shift, promote, roll back, abort, retire. Every change is one compare-and-swap.

It decides whether a change is safe from what is committed and recorded; it runs nothing, and waits only while its
caller goes on asking. What a plan's step calls again after a crash succeeds if it was done already.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence

import msgspec

from kappa.control.advance import Advance
from kappa.control.positions import Goal, OpenLog, position_of
from kappa.control.readiness import (
    diff_objection,
    known_version,
    lag_objection,
    refuse_diff,
    refuse_lag,
    seeded_version,
    tables_apart,
)
from kappa.control.returning import WARM_S, Return, return_to
from kappa.control.revisions import Revisions
from kappa.errors import InputError, ReleaseRefused, ViewNotFound
from kappa.model.records import Position
from kappa.planning.releases import (
    displaced,
    last_promoted,
    primary_of,
    promoted,
    rolled_back,
    shifted,
    wanted_share,
    without,
    without_view,
)
from kappa.ports import ControlStore, Release, Version, ViewStore


class Promotion(msgspec.Struct, frozen=True):
    """What a promotion did.

    Attributes:
        promoted: View -> the version that became primary.
        already: View -> the version that was primary before.
        formers: View -> the version that a rollback returns to.
        retired: View -> the version that was kept warm until now.
        forced: The objections that were overruled.
    """

    promoted: Mapping[str, int]
    already: Mapping[str, int] = {}
    formers: Mapping[str, int] = {}
    retired: Mapping[str, int] = {}
    forced: tuple[str, ...] = ()


class Rollback(msgspec.Struct, frozen=True):
    """What a rollback did.

    Attributes:
        restored: View -> the version that is primary again.
        left: View -> the version that was primary, a candidate now.
        events_back: View -> how many events at most that readers have seen its rows lack, until they are folded.
        uncompared: Views whose version that was left cannot be compared with the restored one.
    """

    restored: Mapping[str, int]
    left: Mapping[str, int]
    events_back: Mapping[str, int] = {}
    uncompared: tuple[str, ...] = ()


class Stopped(msgspec.Struct, frozen=True):
    """Versions that were retired or aborted.

    Attributes:
        view: Their view.
        versions: Their numbers; none if they were stopped before.
        former: Whether one of them was what a rollback would have returned to.
    """

    view: str
    versions: tuple[int, ...]
    former: bool = False


class Releasing:
    """Changes the release of a project in the name of one person."""

    def __init__(
        self, *, control: ControlStore, store: ViewStore, open_log: OpenLog, actor: str, warm_s: float = WARM_S
    ) -> None:
        """Prepare to act for `actor`. What a rollback returns to may lack events that are no older than `warm_s`."""
        self._control, self._store, self._open_log, self._warm_s = control, store, open_log, warm_s
        self._revisions = Revisions(control, actor)

    def shift(self, view: str, shares: Mapping[int, float], *, wait_s: float) -> Generator[Advance, None, Release]:
        """Serve a share of a view's keys from a candidate, and return the release.

        Args:
            view: The view.
            shares: Version -> percent of the keys: the candidate's alone, or all of them, which add up to 100.
            wait_s: How long a share that rises may wait for the candidate to catch up.

        Raises:
            InputError: The shares make no sense.
            VersionNotFound: The candidate does not exist or is stopped.
            ReleaseRefused: It has no rows yet, has not caught up or has another key, or another candidate has a share.
            ReleaseMoved: Somebody else changed the release meanwhile.
        """
        release = self._control.release()
        number, percent = wanted_share(view, primary_of(release, view), shares)
        candidate = seeded_version(self._control, view, number)
        canary = release.canaries.get(view)
        before = canary.percent if canary and canary.version == number else 0.0
        if percent == before:
            return release
        self._refuse_other_key(candidate, release)
        shifted(release, view, number, percent)  # what is refused is refused before any wait
        if percent > before:
            yield from self._catch_up([self._goal(candidate, release)], release, wait_s=wait_s)
            release = self._revisions.unmoved(release, [view])
        detail = f"{percent:g} % of the keys"
        entry = self._revisions.entry("shift", {view: number}, detail=detail)
        return self._revisions.change(shifted(release, view, number, percent), entry)

    def promote(
        self, versions: Mapping[str, int], *, wait_s: float, force: bool = False
    ) -> Generator[Advance, None, Promotion]:
        """Make candidates the primaries of their views, all at one moment. Those that already are stay so.

        What they replace stays warm; what had been kept warm until now is retired.

        Args:
            versions: View -> version.
            wait_s: How long to wait for them to catch up.
            force: Whether to promote versions that have not caught up, or whose diff does not speak for them.

        Raises:
            VersionNotFound: One of them does not exist or is stopped.
            ReleaseRefused: One of them is not ready to be seen.
            ReleaseMoved: Somebody else changed the release meanwhile.
        """
        release = self._control.release()
        wanted = [seeded_version(self._control, view, number) for view, number in versions.items()]
        new = [each for each in wanted if release.primaries.get(each.table.view) != each.table.version]
        already = {view: number for view, number in versions.items() if release.primaries.get(view) == number}
        if not new:
            return Promotion({}, already)
        goals = [self._goal(version, release) for version in new]
        forced: tuple[str, ...] = ()
        if force:
            forced = self._objections(goals, release)
        else:
            yield from self._prove(goals, release, wait_s=wait_s)
        numbers = {version.table.view: version.table.version for version in new}
        release = self._revisions.unmoved(release, numbers)
        detail = f"forced: {'; '.join(forced)}" if forced else ""
        changed = promoted(release, numbers, {version.table.view: self._cutover(version, release) for version in new})
        retired = displaced(release, changed)
        self._revisions.change(
            changed,
            self._revisions.entry("promote", numbers, detail=detail),
            retiring=[self._revisions.end("retire", view, number) for view, number in retired.items()],
        )
        return Promotion(
            numbers,
            already,
            formers={view: changed.formers[view].version for view in numbers if view in changed.formers},
            retired=retired,
            forced=forced,
        )

    def rollback(
        self, views: Sequence[str] = (), *, wait_s: float, force: bool = False
    ) -> Generator[Advance, None, Rollback]:
        """Make the former primaries of views primary again, all at one moment; by default those promoted last.

        Args:
            views: The views.
            wait_s: How long a version may take to fold what it lacks; one that is warm takes none.
            force: Whether to return to a version that lacks events which readers have seen.

        Raises:
            ViewNotFound: A view has no primary.
            ReleaseRefused: There is nothing to go back to, it lags the cutover, or it has stood still since.
            ReleaseMoved: Somebody else changed the release meanwhile.
        """
        release = self._control.release()
        views = tuple(dict.fromkeys(views)) or last_promoted(release)
        if not views:
            raise InputError("there is no promotion to roll back", next_step="see what was done: kappa history")
        rolled_back(release, views)  # what is refused is refused before any wait
        restored = {view: release.formers[view].version for view in views}
        deadline = time.monotonic() + wait_s
        while True:
            returns = {view: self._return(view, release) for view in views}
            if force or not any(found.objection for found in returns.values()):
                break
            if time.monotonic() >= deadline:
                self._refuse_return(release, returns)
            yield Advance(0, note="waiting for what is returned to")
        release = self._revisions.unmoved(release, views)
        changed = rolled_back(release, views)
        overruled = {view: found for view, found in returns.items() if found.objection}
        detail = ", ".join(
            f"forced: {view} goes back by {found.events_back:,} events" for view, found in overruled.items()
        )
        self._revisions.change(changed, self._revisions.entry("roll-back", restored, detail=detail))
        left = {view: release.primaries[view] for view in views}
        return Rollback(
            restored,
            left,
            {view: found.events_back for view, found in returns.items() if found.events_back},
            tuple(view for view in views if tables_apart(self._control, view, restored[view], left[view])),
        )

    def abort(self, view: str, version: int) -> Stopped:
        """Give a candidate up: it serves nothing any more and stops for good.

        Raises:
            VersionNotFound: It does not exist.
            ReleaseRefused: It is primary, or what a rollback returns to.
            ReleaseMoved: Somebody else changed the release meanwhile.
        """
        release = self._control.release()
        if (former := release.formers.get(view)) and former.version == version:
            raise ReleaseRefused(
                view=view,
                version=version,
                reason="is what a rollback returns to, so it cannot be aborted",
                next_step=f"give up the rollback with it: kappa retire {view} v{version}",
            )
        return self._stop(view, version, release, aborted=True)

    def retire(self, view: str, version: int) -> Stopped:
        """Stop a version that is not needed any more: the former primary, or a candidate without a share.

        Raises:
            VersionNotFound: It does not exist.
            ReleaseRefused: It is primary, or it serves a share of the keys.
            ReleaseMoved: Somebody else changed the release meanwhile.
        """
        release = self._control.release()
        if (canary := release.canaries.get(view)) and canary.version == version:
            raise ReleaseRefused(
                view=view,
                version=version,
                reason=f"serves {canary.percent:g} % of the keys, so it cannot be retired",
                next_step=f"take its share back and give it up: kappa abort {view} v{version}",
            )
        return self._stop(view, version, release, aborted=False)

    def retire_view(self, view: str, *, defined: bool) -> Stopped:
        """Serve a view no longer, and stop all its versions.

        Args:
            view: The view.
            defined: Whether the project's code has it; it would be deployed again.

        Raises:
            ViewNotFound: It was never deployed.
            InputError: The project's code has it.
            ReleaseMoved: Somebody else changed the release meanwhile.
        """
        versions = self._control.versions(view)
        if not versions:
            raise ViewNotFound(view=view, known=tuple(self._control.release().primaries))
        if defined:
            raise InputError(
                f"the project's code still has the view '{view}'",
                next_step=f"remove it from the code first, or retire one version: kappa retire {view} vN",
            )
        release = self._control.release()
        entry = msgspec.structs.replace(self._revisions.entry("retire", {}, detail="it is served no longer"), view=view)
        if view in release.primaries:
            self._revisions.change(without_view(release, view), entry)
        stopped = tuple(version.table.version for version in versions if version.retired_at is None)
        for number in stopped:
            self._control.retire(view, number)
        return Stopped(view, stopped, former=view in release.formers)

    def _stop(self, view: str, version: int, release: Release, *, aborted: bool) -> Stopped:
        action = "abort" if aborted else "retire"
        found = known_version(self._control, view, version)
        if release.primaries.get(view) == version:
            raise ReleaseRefused(
                view=view,
                version=version,
                reason=f"is primary, so it cannot be {'aborted' if aborted else 'retired'}",
                next_step="promote another version first"
                + (f", or: kappa rollback {view}" if view in release.formers else f": kappa versions {view}"),
            )
        if found.retired_at is not None and found.aborted != aborted:
            return Stopped(view, ())
        entry = self._revisions.end(action, view, version)
        former = view in release.formers and release.formers[view].version == version
        if release.names(view, version):
            self._revisions.change(without(release, view, version), entry)
        self._control.retire(view, version, aborted=aborted)
        self._control.record(entry)
        return Stopped(view, () if found.retired_at is not None else (version,), former=former)

    def _goal(self, version: Version, release: Release) -> Goal:
        primary = self._primary(version.table.view, release)
        return Goal(version, primary, store=self._store, open_log=self._open_log)

    def _refuse_other_key(self, candidate: Version, release: Release) -> None:
        """Refuse a candidate whose rows nobody would find by the keys that they ask the primary for."""
        table, primary = candidate.table, self._primary(candidate.table.view, release)
        if primary is not None and primary.table.key != table.key:
            names = [", ".join(column.name for column in each.key) for each in (table, primary.table)]
            raise ReleaseRefused(
                view=table.view,
                version=table.version,
                reason=f"is keyed by {names[0]} and v{primary.table.version} by {names[1]}: they cannot share keys",
                next_step=f"change over at once: kappa promote {table.view} v{table.version} --force",
            )

    def _primary(self, view: str, release: Release) -> Version | None:
        number = release.primaries.get(view)
        return None if number is None else known_version(self._control, view, number)

    def _catch_up(self, goals: Sequence[Goal], release: Release, *, wait_s: float) -> Generator[Advance, None, None]:
        """Wait until every goal is reached.

        Raises:
            ReleaseRefused: One was not in time.
        """
        deadline = time.monotonic() + wait_s
        at_first = sum(goal.behind() for goal in goals)
        while behind := sum(goal.behind() for goal in goals):
            yield Advance(max(0, at_first - behind), at_first, note="catching up")
            if time.monotonic() >= deadline:
                for goal in goals:
                    refuse_lag(goal, release.primaries.get(goal.version.table.view))

    def _prove(self, goals: Sequence[Goal], release: Release, *, wait_s: float) -> Generator[Advance, None, None]:
        """Refuse versions that are not fit to be seen; wait for those that are and have not caught up.

        Raises:
            ReleaseRefused: One of them is not fit.
        """
        for table in (goal.version.table for goal in goals):
            if table.view in release.primaries:
                refuse_diff(self._control, table.view, release.primaries[table.view], table.version)
        yield from self._catch_up(goals, release, wait_s=wait_s)

    def _objections(self, goals: Sequence[Goal], release: Release) -> tuple[str, ...]:
        """Return everything that speaks against versions, which is overruled."""
        found: list[str] = []
        for goal in goals:
            table, primary = goal.version.table, release.primaries.get(goal.version.table.view)
            objections = [lag_objection(goal, primary)]
            if primary is not None:
                objections.append(diff_objection(self._control, table.view, primary, table.version))
            found += [f"{table.view} v{table.version} {objection}" for objection in objections if objection]
        return tuple(found)

    def _cutover(self, version: Version, release: Release) -> Position:
        """Return what the former primary must hold before a rollback: what `version` holds when it takes over.

        If they read different logs, that is all that the former's own log holds by now.
        """
        former = self._primary(version.table.view, release)
        if former is None or former.table.log == version.table.log:
            return position_of(version.table, self._store)
        with self._open_log(former.table.log) as log:
            return log.ends()

    def _return(self, view: str, release: Release) -> Return:
        """Return what it would be like to make the former primary of a view its primary again.

        Raises:
            VersionNotFound: The former primary is stopped for good.
        """
        former = release.formers[view]
        version = seeded_version(self._control, view, former.version)
        primary = known_version(self._control, view, release.primaries[view])
        return return_to(former, version, primary, store=self._store, open_log=self._open_log, warm_s=self._warm_s)

    def _refuse_return(self, release: Release, returns: Mapping[str, Return]) -> None:
        """Refuse the first return to which there is an objection.

        Raises:
            ReleaseRefused: There is one.
        """
        for view, found in returns.items():
            if found.objection:
                raise ReleaseRefused(
                    view=view,
                    version=release.formers[view].version,
                    reason=found.objection,
                    next_step="let it catch up: kappa up, and see kappa status; or pass --force: rows will go back in "
                    f"time by {found.events_back:,} events until it has",
                )
