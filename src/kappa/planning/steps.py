"""The steps of a plan: frozen data that `kappa plan` prints, `--json` dumps and `kappa apply` walks.

Every step is idempotent: walked again, wherever it was interrupted, it ends in the same state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

import msgspec

from kappa.planning.catch_up import duration_text
from kappa.planning.releases import traffic_percent
from kappa.ports.release import Release
from kappa.ports.versions import Deployment


class Deploy(msgspec.Struct, frozen=True, tag="deploy", tag_field="step"):
    """Record a version and create its table. One without a seed starts to replay the log at once."""

    deployment: Deployment


class MakeSeed(msgspec.Struct, frozen=True, tag="make-seed", tag_field="step"):
    """Write the rows that a version starts from, made of another version's rows."""

    view: str
    version: int
    base: int


class CatchUp(msgspec.Struct, frozen=True, tag="catch-up", tag_field="step"):
    """Wait until a version holds all that its primary holds."""

    view: str
    version: int


class Compare(msgspec.Struct, frozen=True, tag="diff", tag_field="step"):
    """Compare a candidate with the primary row by row, and keep the report."""

    view: str
    left: int  # the primary
    right: int  # the candidate


class Shift(msgspec.Struct, frozen=True, tag="shift", tag_field="step"):
    """Serve a share of the keys from a candidate."""

    view: str
    version: int
    percent: float


class Gate(msgspec.Struct, frozen=True, tag="gate", tag_field="step"):
    """Compare again; unless the candidate is healthy and every expectation is met, take its share back and stop."""

    view: str
    left: int  # the primary
    right: int  # the candidate
    pause_s: float = 0.0  # for so long the share is served before


class Promote(msgspec.Struct, frozen=True, tag="promote", tag_field="step"):
    """Make candidates the primaries of their views, all at one moment. What they replace stays warm."""

    versions: Mapping[str, int]  # view -> version


class Retire(msgspec.Struct, frozen=True, tag="retire", tag_field="step"):
    """Stop a version for good."""

    view: str
    version: int
    aborted: bool = False  # it never was primary: a later candidate takes its place


Step = Deploy | MakeSeed | CatchUp | Compare | Shift | Gate | Promote | Retire


def describe(step: Step) -> str:
    """Return what a step does, for people, without a full stop.

    >>> describe(Promote({"carrier": 2, "route": 3}))
    'promote carrier v2, route v3'
    """
    match step:
        case Deploy():
            text = f"deploy {step.deployment.table.view} v{step.deployment.table.version}"
        case MakeSeed():
            text = f"make the seed of {step.view} v{step.version} from v{step.base}"
        case CatchUp():
            text = f"catch up {step.view} v{step.version}"
        case Compare():
            text = f"diff {step.view} v{step.left} v{step.right}"
        case Shift():
            text = f"serve {step.percent:g} % of the keys of {step.view} from v{step.version}"
        case Gate():
            pause = f"after {duration_text(step.pause_s).removeprefix('about ')}, " if step.pause_s else ""
            text = f"{pause}check {step.view} v{step.right} against v{step.left}"
        case Promote():
            text = "promote " + ", ".join(f"{view} v{version}" for view, version in step.versions.items())
        case Retire():
            text = f"{'abort' if step.aborted else 'retire'} {step.view} v{step.version}"
        case _:
            assert_never(step)
    return text


def released(step: Step) -> bool:
    """Say whether readers see that a step was done: `kappa apply` stops before the first such step for a review."""
    match step:
        case Shift() | Promote():
            return True
        case Deploy() | MakeSeed() | CatchUp() | Compare() | Gate() | Retire():
            return False
        case _:
            assert_never(step)


def still_done(steps: Sequence[Step], done: int, release: Release) -> int:
    """Return how many of the first `done` steps need not be carried out again: all, or those before the last shares.

    A check that fails takes shares back, and so may people. Then they are given anew, and checked, before larger ones.
    """
    if any(isinstance(step, Promote) for step in steps[:done]):
        return done
    shares = [(number, step) for number, step in enumerate(steps[:done]) if isinstance(step, Shift)]
    last = [(number, step) for number, step in shares if step.percent == shares[-1][1].percent]
    if all(traffic_percent(release, step.view, step.version) >= step.percent for _, step in last):
        return done
    return last[0][0]
