"""Say whether a version can start from the rows of another, brought into its shape, instead of a replay.

A migration is *proven* if its rows provably equal those of a replay: fields that nothing writes, and folds that go, are
renamed or change places. Whatever else an author wants is *declared* with `@migrate`, and asserted by the author alone.
Pure: compares two declarations, and looks at no row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from kappa.model.folds import hidden_fields
from kappa.model.handlers import uses_any_field
from kappa.model.migrations import Migrator
from kappa.model.views import OFFSET, SEEN, View, ViewSpec, view_spec
from kappa.planning.changes import PartChanges

_QUALIFIED = re.compile(r"\b(?:\w+\.)+(?=\w)")


class Migration(msgspec.Struct, frozen=True):
    """How a row of one version becomes a row of another.

    Attributes:
        sources: Field of the new row -> field of the old row that it is taken from, state of folds included. What is
            missing here comes from `migrator`, or else begins with its default.
        migrator: What the author declared; None for a migration that is proven.
        explanation: What becomes of the fields, a sentence for people.
    """

    sources: Mapping[str, str]
    migrator: Migrator | None
    explanation: str


def migration_between(
    old: type[View],
    new: type[View],
    *,
    changes: PartChanges,
    primary: int,
    dead_letters: int,
    in_range_only: bool = False,
) -> Migration | str:
    """Return how rows of `old` become rows of `new`, or why they cannot: a sentence that names the part.

    Args:
        old: The view as the version declares it whose rows they are.
        new: The view as the version declares it that starts from them.
        changes: Between the parts of their fingerprints.
        primary: The number of the version whose rows they are.
        dead_letters: How many that version has: a fold that goes may have been their reason.
        in_range_only: Whether it counts its code for a range of events only; see `planning.seeds`.
    """
    for part in ("key", "state format", *(f"field {name}" for name in view_spec(new).key)):
        if part in changes.changed:
            return f"{part} has changed: rows of v{primary} are of no use"
    if (migrator := view_spec(new).migrations.get(primary)) is not None:
        explanation = f"{migrator.name} makes the rows from those of v{primary}, as its author asserts"
        return Migration(_carried(old, new), migrator, explanation)
    reason = next(_reasons(old, new, changes, dead_letters), None)
    if reason is not None:
        return reason
    sources = _carried(old, new) | {name: name for name in _plain_fields(new) & _plain_fields(old)}
    return Migration(sources, None, _explanation(old, new, sources, equal=not in_range_only))


def state_of_fold(spec: ViewSpec, name: str) -> tuple[str, ...]:
    """Return the fields that a fold keeps beside its column."""
    return tuple(f"_{name}_{part.suffix}" for part in hidden_fields(spec.folds[name], spec.hints[name]))


def _carried(old: type[View], new: type[View]) -> dict[str, str]:
    """Return the new field -> old field of what must not be made anew: key, position, and folds declared alike."""
    before, after = view_spec(old), view_spec(new)
    sources = {name: name for name in (*after.key, OFFSET)}
    if before.dedupe_us and after.dedupe_us:
        sources[SEEN] = SEEN
    for name in after.folds:
        if (source := _same_fold(old, new, name)) is not None:
            sources[name] = source
            sources |= zip(state_of_fold(after, name), state_of_fold(before, source), strict=True)
    return sources


def _same_fold(old: type[View], new: type[View], name: str) -> str | None:
    """Return the old fold that has computed what the new fold `name` computes: its namesake, or any other."""
    before = view_spec(old)
    wanted = _fold_text(new, name)
    alike = [candidate for candidate in before.folds if _fold_text(old, candidate) == wanted]
    return name if name in alike else next(iter(alike), None)


def _fold_text(view: type[View], name: str) -> str:
    """Return a fold with its type. Modules are left out: those of two versions have different names."""
    spec = view_spec(view)
    return f"{spec.folds[name]}: {_QUALIFIED.sub('', repr(spec.hints[name]))}"


def _plain_fields(view: type[View]) -> set[str]:
    """Return the declared fields that are no folds and no key."""
    spec = view_spec(view)
    states = {field for name in spec.folds for field in state_of_fold(spec, name)}
    return spec.hints.keys() - spec.folds.keys() - states - {*spec.key, OFFSET, SEEN}


def _reasons(old: type[View], new: type[View], changes: PartChanges, dead_letters: int) -> Iterator[str]:
    """Yield why a migration would not provably equal a replay."""
    yield from _reasons_of_parts(changes)
    before, after = view_spec(old), view_spec(new)
    for name in sorted(after.folds):
        if _same_fold(old, new, name) is None:
            said = "has changed" if name in before.folds else "is new"
            yield f"fold {name} {said}: its history is in the log"
    fields = changes.of("field")
    for name in fields.changed:
        if name in _plain_fields(old) | _plain_fields(new):
            yield f"field {name} has changed: its type, its default or what it is"
    texts = {_fold_text(new, name) for name in after.folds}
    gone = [name for name in sorted(before.folds) if _fold_text(old, name) not in texts]
    if gone and dead_letters:
        yield f"fold {gone[0]} is gone, and might be why {dead_letters:,} dead letters could not be folded"
    folds = changes.of("fold")
    touched = {*fields.added, *fields.removed, *folds.added, *folds.removed, *folds.changed}
    yield from _reasons_of_handlers(new, sorted(touched))


def _reasons_of_parts(changes: PartChanges) -> Iterator[str]:
    """Name the parts that no migration can make up for: code, events and options."""
    for said, names in (("is new", changes.added), ("is gone", changes.removed), ("has changed", changes.changed)):
        for name in names:
            if not name.startswith(("field ", "fold ")):
                yield f"{name} {said}: what it gives is known from a replay only"


def _reasons_of_handlers(view: type[View], names: Iterable[str]) -> Iterator[str]:
    """Say which handler may use a field that came, went or is now called otherwise. Its code has not changed."""
    spec = view_spec(view)
    for name in names:
        for handler in spec.handlers.values():
            if uses_any_field(handler, view, spec.hints):
                yield f"handler {handler.name} may use any field, so perhaps {name}"
            if name in handler.row.reads | handler.row.writes.keys():
                yield f"handler {handler.name} uses {name}"


def _explanation(old: type[View], new: type[View], sources: Mapping[str, str], *, equal: bool) -> str:
    folds = view_spec(new).folds
    fresh = sorted(_plain_fields(new) - sources.keys())
    renamed = [f"{name} is taken from {sources[name]}" for name in sorted(folds) if sources[name] != name]
    declared = _plain_fields(old) | view_spec(old).folds.keys()
    gone = sorted(declared - {sources.get(name) for name in view_spec(new).hints})
    said = [f"{', '.join(fresh)} with {'its default' if len(fresh) == 1 else 'their defaults'}"] if fresh else []
    said += renamed + ([f"{', '.join(gone)} left out"] if gone else [])
    shape = f"the rows are brought into a new shape{', which equals a replay' if equal else ''}"
    return f"{shape}: {'; '.join(said) or 'fields change places'}"
