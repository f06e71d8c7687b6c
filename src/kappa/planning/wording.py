"""Say in sentences what has changed between two versions of a view's code. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile

from kappa.planning.changes import PartChanges

# Said in this order: what a view is, what it computes, and what that is made of.
_WHOLE = {
    "key": "its key is now {after}, was {before}",
    "dedupe": "the time for which it remembers event ids is now {after} µs, was {before} µs",
    "state format": "kappa stores its state in another format",
}
_KINDS = ("fold", "field", "event", "code", "package")
# What is shown of one side of a change; the whole of it is in the code.
_SHOWN_CHARACTERS_MAX = 70


def change_sentences(changes: PartChanges, *, users: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield a sentence per change that its author would know by name.

    Args:
        changes: The parts that differ.
        users: Code name -> the handlers and events that run it, of the new code.

    >>> changes = PartChanges((), (), ("fold n",), {"fold n": "count(A)"}, {"fold n": "count(B)"})
    >>> list(change_sentences(changes, users={}))
    ['fold n: count(A) is now count(B)']
    """
    for name, text in _WHOLE.items():
        if name in changes.changed:
            yield text.format(before=_plain(changes.before[name]), after=_plain(changes.after[name]))
    renamed = dict(_renamed_folds(changes))
    yield from (f"fold {old} is called {new} now" for old, new in renamed.items())
    # A fold brings a field of its name, and a hidden one or two: they say nothing more.
    folds = {*changes.of("fold").added, *changes.of("fold").removed, *changes.of("fold").changed}
    known = {*renamed, *renamed.values()}
    for kind in _KINDS:
        these = changes.of(kind)
        if kind == "fold":
            yield from _changed_folds(changes)
        for name in these.changed:
            if kind != "fold" and not _is_state(kind, name, folds):
                yield _changed(kind, name, changes, users)
        for name in (name for name in these.added if not _said(kind, name, folds, known)):
            yield f"{kind} {name} is new{_used_by(kind, name, users)}{_shown(kind, name, changes.after)}"
        yield from (f"{kind} {name} is gone" for name in these.removed if not _said(kind, name, folds, known))


def _changed(kind: str, name: str, changes: PartChanges, users: Mapping[str, tuple[str, ...]]) -> str:
    old, new = changes.before[f"{kind} {name}"], changes.after[f"{kind} {name}"]
    match kind:
        case "field":
            kept, changed = _field(old), _field(new)
            if kept == changed:
                return f"field {name}: the members of its type have changed"
            return f"field {name}: {kept} is now {changed}"
        case "event":
            return f"event {name} has changed: its fields, their defaults or its version"
        case "package":
            return f"package {name} is version {new} now, was {old}"
        case _:
            return f"code {name} has changed{_used_by(kind, name, users)}"


def _changed_folds(changes: PartChanges) -> Iterator[str]:
    """Yield a sentence per difference: folds often share an expression, and it is all that differs."""
    folds: dict[tuple[str, str], list[str]] = {}
    for name in changes.of("fold").changed:
        difference = _difference(changes.before[f"fold {name}"], changes.after[f"fold {name}"])
        folds.setdefault(difference, []).append(name)
    for (old, new), names in folds.items():
        yield f"fold{'s' if len(names) > 1 else ''} {', '.join(names)}: {old} is now {new}"


def _difference(old: str, new: str) -> tuple[str, str]:
    """Return the parts of two texts that differ, in whole words; texts that are short as they are.

    >>> _difference("count(A)", "count(B)")
    ('count(A)', 'count(B)')
    >>> prefix = "average(((" + "minutes + " * 10
    >>> _difference(f"{prefix} 1440 + 720) % 1440 - 720))", f"{prefix} 1440 + 120) % 1440 - 120))")
    ('… 720) % 1440 - 720 …', '… 120) % 1440 - 120 …')
    """
    if max(len(old), len(new)) <= _SHOWN_CHARACTERS_MAX:
        return old, new
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    while start > 0 and (old[start - 1].isalnum() or old[start - 1] in "._"):
        start -= 1
    while end > 0 and (old[len(old) - end].isalnum() or old[len(old) - end] in "._"):
        end -= 1
    return _elided(old, start, end), _elided(new, start, end)


def _common(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in alike)


def _elided(text: str, start: int, end: int) -> str:
    middle = text[start : len(text) - end].strip()
    if len(middle) > _SHOWN_CHARACTERS_MAX:
        middle = f"{middle[: _SHOWN_CHARACTERS_MAX - 1].rstrip()}…"
    return f"{'… ' if start else ''}{middle}{' …' if end and not middle.endswith('…') else ''}"


def _renamed_folds(changes: PartChanges) -> Iterator[tuple[str, str]]:
    """Yield (old, new) names of folds that went and came with the same text, if only one came with it."""
    folds = changes.of("fold")
    for old in folds.removed:
        text = changes.before[f"fold {old}"]
        same = [new for new in folds.added if changes.after[f"fold {new}"] == text]
        gone = [name for name in folds.removed if changes.before[f"fold {name}"] == text]
        if len(same) == len(gone) == 1:
            yield old, same[0]


def _used_by(kind: str, name: str, users: Mapping[str, tuple[str, ...]]) -> str:
    # A handler is not said to run itself.
    others = [user for user in users.get(name, ()) if not name.endswith(f".{user.split()[-1]}")]
    if kind != "code" or not others:
        return ""
    return f", which {' and '.join(others)} {'runs' if len(others) == 1 else 'run'}"


def _shown(kind: str, name: str, after: Mapping[str, str]) -> str:
    match kind:
        case "fold":
            return f": {after[f'fold {name}']}"
        case "field":
            return f": {_field(after[f'field {name}'])}"
        case _:
            return ""


def _said(kind: str, name: str, folds: set[str], renamed: set[str]) -> bool:
    """Say whether something that came or went is part of what was said of a fold."""
    return (kind == "fold" and name in renamed) or (kind == "field" and (name in folds or _is_state(kind, name, folds)))


def _is_state(kind: str, name: str, folds: set[str]) -> bool:
    """Say whether a field is what one of the folds keeps beside its column."""
    return kind == "field" and any(name.startswith(f"_{fold}_") for fold in folds)


def _field(text: str) -> str:
    """Return type and default of a field's part, which has its JSON schema behind them."""
    declared = text.partition(", {")[0]
    return _plain(declared).replace("decimal.Decimal", "Decimal").replace("datetime.datetime", "datetime")


def _plain(text: str) -> str:
    """Return a type or a tuple as people write it.

    >>> _plain("<class 'int'> = 0"), _plain("('origin', 'dest')"), _plain("('carrier',)")
    ('int = 0', 'origin, dest', 'carrier')
    """
    text = text.replace("<class '", "").replace("'>", "")
    if text.startswith("(") and text.endswith(")"):
        return ", ".join(part.strip().strip("'") for part in text[1:-1].split(",") if part.strip())
    return text
