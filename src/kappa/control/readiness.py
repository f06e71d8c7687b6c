"""Say whether a candidate may be shown to readers: it exists, has caught up, and its diff speaks for it."""

from __future__ import annotations

import msgspec

from kappa.control.positions import Goal
from kappa.errors import ReleaseRefused, VersionNotFound, ViewNotFound
from kappa.planning.diffs import DiffReport, incomparable
from kappa.ports import ControlStore, Version


def known_version(control: ControlStore, view: str, number: int) -> Version:
    """Return a version, whatever its state.

    Raises:
        ViewNotFound: Nothing of this name was deployed.
        VersionNotFound: It was never deployed.
    """
    versions = control.versions(view)
    if not versions:
        raise ViewNotFound(view=view, known=tuple(control.release().primaries))
    for version in versions:
        if version.table.version == number:
            return version
    raise VersionNotFound(view=view, version=number)


def live_version(control: ControlStore, view: str, number: int) -> Version:
    """Return a version that is not stopped for good.

    Raises:
        VersionNotFound: It was never deployed, or was retired or aborted.
    """
    version = known_version(control, view, number)
    if version.retired_at is not None:
        raise VersionNotFound(view=view, version=number, reason=f"was {'aborted' if version.aborted else 'retired'}")
    return version


def seeded_version(control: ControlStore, view: str, number: int) -> Version:
    """Return a version that runs.

    Raises:
        VersionNotFound: It was never deployed, or was retired or aborted.
        ReleaseRefused: Its seed is not complete.
    """
    version = live_version(control, view, number)
    if not version.seeded:
        raise ReleaseRefused(
            view=view,
            version=number,
            reason="has no rows yet: its seed is not complete",
            next_step="let its plan go on: kappa apply",
        )
    return version


def refuse_lag(goal: Goal, primary: int | None) -> None:
    """Refuse a version that has not caught up.

    Raises:
        ReleaseRefused: It lacks events.
    """
    if objection := lag_objection(goal, primary):
        table = goal.version.table
        raise ReleaseRefused(
            view=table.view,
            version=table.version,
            reason=objection,
            next_step="let it catch up: kappa up keeps it folding, kappa status --watch shows how far it is",
        )


def lag_objection(goal: Goal, primary: int | None) -> str | None:
    """Return why a version has not caught up, or None if it has."""
    behind = goal.behind()
    if not behind:
        return None
    held_by = f"that v{primary} holds" if primary is not None else "of its log"
    return f"has not caught up: it lacks {'' if goal.exact else '~'}{behind:,} events {held_by}"


def refuse_diff(control: ControlStore, view: str, primary: int, candidate: int) -> None:
    """Refuse a candidate whose diff with its primary does not speak for it.

    Raises:
        ReleaseRefused: The diff is missing, was made with another version, leaves rows open, breaks an expectation or
            shows that the candidate cannot fold what its primary can.
    """
    if objection := diff_objection(control, view, primary, candidate):
        look = f"compare them: kappa diff {view} v{primary} v{candidate}"
        if tables_apart(control, view, primary, candidate):
            look = f"look at its rows: kappa get {view} KEY --version v{candidate}"
        raise ReleaseRefused(
            view=view,
            version=candidate,
            reason=objection,
            next_step=f"{look}; or overrule this: kappa promote {view} v{candidate} --force",
        )


def diff_objection(control: ControlStore, view: str, primary: int, candidate: int) -> str | None:
    """Return why the diff with its primary does not speak for a candidate, or None if it does."""
    if flaw := tables_apart(control, view, primary, candidate):
        return f"cannot be compared with v{primary}: {flaw}"
    record = control.diff(view, primary, candidate)
    if record is None:
        for other in reversed(control.versions(view)):
            if control.diff(view, other.table.version, candidate) is not None:
                return f"was compared with v{other.table.version}, but v{primary} is primary now"
        return f"was not compared with v{primary}, the primary"
    report = msgspec.json.decode(record.document, type=DiffReport)
    expected = known_version(control, view, candidate).expectations
    if {verdict.name: verdict.expected for verdict in report.expectations} != dict(expected):
        return f"was compared with v{primary} before what is expected of it changed"
    return _objection_of(report)


def tables_apart(control: ControlStore, view: str, left: int, right: int) -> str | None:
    """Return why two versions of a view cannot be compared, or None if they can."""
    return incomparable(*(known_version(control, view, number).table for number in (left, right)))


def _objection_of(report: DiffReport) -> str | None:
    if report.broken:
        return f"breaks what is expected of it: {'; '.join(report.broken)}"
    if report.dead_right_only:
        return f"sets aside {report.dead_right_only:,} events that v{report.left} does not: kappa dlq list"
    if report.unverified or not report.complete:
        rows = f"{report.unverified:,} rows" if report.unverified else "some rows"
        return f"has a diff with v{report.left} that leaves {rows} unverified"
    return None
