"""Say how rows are corrected when new code counts for a range of event time only, field by field.

What can be taken back is adjusted: row - old contribution + new contribution, which needs the events of the range. As
soon as one field depends on more, the affected keys are folded again from the log's start: by the old code outside the
range, by the new code inside. Pure: compares two declarations, and looks at no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from kappa.model.folds import FoldKind
from kappa.model.handlers import uses_any_field
from kappa.model.views import OFFSET, View, view_spec
from kappa.planning.changes import PartChanges
from kappa.planning.migration import state_of_fold
from kappa.ports import Deployment


class Correction(StrEnum):
    """What becomes of a field of a row that has events in the range."""

    KEPT = "kept"
    ADJUSTED = "adjusted"
    REFOLD = "refold"


class Corrections(msgspec.Struct, frozen=True):
    """How rows are corrected.

    Attributes:
        fields: Field -> its correction; key and state of folds are left out.
        explanation: A sentence for people.
    """

    fields: Mapping[str, Correction]
    explanation: str

    @property
    def refold(self) -> bool:
        """Whether affected keys are folded again from the log's start, and not adjusted."""
        return Correction.REFOLD in self.fields.values()

    @property
    def adjusted(self) -> tuple[str, ...]:
        """The folds that are adjusted."""
        return tuple(name for name, correction in self.fields.items() if correction is Correction.ADJUSTED)


def corrections_between(old: type[View], new: type[View], changes: PartChanges) -> Corrections | str:
    """Return how rows that `old` has made are corrected by `new`, or why they cannot be: a sentence.

    Args:
        old: The view as the version declares it whose rows they are.
        new: The view as the corrected version declares it.
        changes: Between the parts of their fingerprints.
    """
    if not changes:
        return "the code is the same: it would correct nothing"
    for part in ("key", "state format"):
        if part in changes.changed:
            return f"the {part} has changed"
    fields = changes.of("field")
    before, after = view_spec(old), view_spec(new)
    for said, names in (("is new", fields.added), ("is gone", fields.removed), ("has another shape", fields.changed)):
        for name in names:
            return f"field {name} {said}: rows inside and outside the range would not be alike"
    if tuple(before.hints) != tuple(after.hints):
        return "its fields have changed places: rows inside and outside the range would not be alike"
    return _explained(_classify(old, new, changes))


def reason_against_base(base: Deployment) -> str | None:
    """Say why no range of a version's rows can be corrected, or return None.

    The correction takes out what the version's code made of the range, so all its rows must be made by that code.
    """
    if base.seed is None:
        return None
    number = base.table.version
    return f"v{number} started from a seed of v{base.seed.base}, so its code alone does not account for its rows"


def _classify(old: type[View], new: type[View], changes: PartChanges) -> dict[str, Correction]:
    """Return the correction of each field. What may reach a field by another way than its own fold is refolded."""
    spec = view_spec(new)
    states = {field for name in spec.folds for field in state_of_fold(spec, name)}
    names = [name for name in spec.hints if name not in {*spec.key, OFFSET} | states]
    folds = changes.of("fold")
    if {*changes.added, *changes.removed, *changes.changed} - {f"fold {name}" for name in folds.changed}:
        # Code and events may reach any field: a handler that raises takes its event from all folds.
        return dict.fromkeys(names, Correction.REFOLD)
    for handler in spec.handlers.values():
        # One that sees a changed fold may set other values, or raise for other events.
        if uses_any_field(handler, new, spec.hints) or not handler.row.reads.isdisjoint(folds.changed):
            return dict.fromkeys(names, Correction.REFOLD)
    corrections = dict.fromkeys(names, Correction.KEPT)
    for name in folds.changed:
        adjustable = _invertible(old, name) and _invertible(new, name) and not spec.dedupe_us
        corrections[name] = Correction.ADJUSTED if adjustable else Correction.REFOLD
    return corrections


def _invertible(view: type[View], name: str) -> bool:
    """Say whether a fold's contribution can be taken back exactly."""
    spec = view_spec(view)
    match spec.folds[name].kind:
        case FoldKind.COUNT:
            return True
        case FoldKind.TOTAL:
            return spec.hints[name] in (int, Decimal)
        case FoldKind.AVERAGE:
            return spec.hints[f"_{name}_total"] in (int, Decimal)
        case _:
            return False


def _explained(fields: dict[str, Correction]) -> Corrections:
    refolded = [name for name, correction in fields.items() if correction is Correction.REFOLD]
    if refolded:
        text = (
            f"{', '.join(refolded)} cannot be corrected by the range alone: keys with events in the range are folded "
            "again from the log's start"
        )
        return Corrections(fields, text)
    adjusted = ", ".join(name for name, correction in fields.items() if correction is Correction.ADJUSTED)
    return Corrections(
        fields, f"{adjusted}: what the range contributed is taken out, and added as the new code sees it"
    )
