"""Write, for one view, the function that folds a batch: decode, dispatch and every fold in one loop, no calls between.

A generated loop is twice as fast as one that interprets the declaration, and reads like it: see
`fold_code(...).source`. An event changes its row completely or, if anything in it raises, not at all: folds compute
first and assign last, and a handler's fields are kept until it is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import inspect

from kappa.model.decoding import (
    DEEP_BYTES_MIN,
    NESTING_MAX,
    Decoding,
    in_utc,
    in_utc_throughout,
    nested_too_deeply,
)
from kappa.model.events import SCHEMA_VERSION, Event, event_spec
from kappa.model.fold_lines import FoldLines, Lines, fit_lines, fold_lines, indent
from kappa.model.folds import hidden_fields
from kappa.model.handlers import Handler, uses_any_field
from kappa.model.seen import is_duplicate, remember
from kappa.model.types import field_type, holds
from kappa.model.values import EXACT, Rejected, settle
from kappa.model.views import OFFSET, SEEN, View, ViewSpec, view_spec

FoldBatch = Callable[..., None]


class FoldCode(msgspec.Struct, frozen=True):
    """The code that folds a view.

    Attributes:
        fold_batch: fold_batch(offsets, keys, values, times, rows, base, changed, new_row, dead): for each record in
            order, folds its event into `rows[key]` (made by `new_row(key)` where it is missing or None) and notes its
            offset there; keys whose row was last changed before offset `base` are appended to `changed`, so each comes
            once; events at or before their row's own offset are passed over; records that cannot be folded go to
            `dead(offset, key, value, error)`.
        file: What tracebacks call its file.
        source: Its source. A comment at the end of a line that may raise says what it works on.
    """

    fold_batch: FoldBatch
    file: str
    source: str

    def subject(self, line: int) -> str:
        """Return what a line of the source works on, for a reason."""
        return self.source.splitlines()[line - 1].rpartition("  # ")[2].strip()


def fold_code(view: type[View], decoding: Decoding, sample: Collection[bytes] = ()) -> FoldCode:
    """Return the code that folds a view's events, which `decoding` decodes.

    It asks first for those types that are most frequent in `sample`, some records; what it computes is the same.
    """
    writer = _Writer(view, decoding)
    file, source = f"<fold of {writer.spec.name}>", writer.source(decoding.by_frequency(sample))
    exec(compile(source, file, "exec"), writer.names)  # noqa: S102 - our own source
    return FoldCode(writer.names["fold_batch"], file, source)


class _Writer:
    """Collects the source and the names it refers to while walking one view's declaration."""

    def __init__(self, view: type[View], decoding: Decoding) -> None:
        self.view = view
        self.spec: ViewSpec = view_spec(view)
        self.decoding = decoding
        self.names: dict[str, Any] = {
            "decode": decoding.decode,
            "recover": decoding.recover,
            "nested_too_deeply": nested_too_deeply,
            "exact": EXACT.plus,
            "exact_add": EXACT.add,
            "to_state": msgspec.msgpack.Encoder().encode,
            "in_utc": in_utc,
            "in_utc_throughout": in_utc_throughout,
            "meddled": meddled,
            "is_duplicate": is_duplicate,
            "remember": remember,
            "Rejected": Rejected,
            "UTC": UTC,
            "Decimal": Decimal,
            "datetime": datetime,
            "date": date,
        }

    def source(self, events: Sequence[type[Event]]) -> str:
        lines = [
            "def fold_batch(offsets, keys, values, times, rows, base, changed, new_row, dead):",
            "    get = rows.get",
            # Only duplicates need the time, and one column less is a hundredth of the loop.
            "    for offset, key, value, time in zip(offsets, keys, values, times):"
            if self.spec.dedupe_us
            else "    for offset, key, value in zip(offsets, keys, values):",
            "        try:",
            f"            if len(value) > {DEEP_BYTES_MIN} and nested_too_deeply(value):",
            f"                raise Rejected('JSON nested more than {NESTING_MAX} deep')",
            "            try:",
            "                e = decode(value)",
            "            except MemoryError:",
            "                raise",
            "            except Exception:",
            "                e = recover(value)",
            "            kind = e.__class__",
        ]
        for index, event in enumerate(events):
            self.names[f"E{index}"] = self.decoding.wire[event]
            lines.append(f"            {'if' if index == 0 else 'elif'} kind is E{index}:  # {event.__name__}")
            lines += indent(self._event(event), 16)
        lines += [
            "            else:",
            "                continue",
            f"            if row.{OFFSET} < base:",
            "                changed.append(key)",
            f"            row.{OFFSET} = offset",
            "        except MemoryError:",
            "            raise",
            "        except Exception as error:",
            "            dead(offset, key, value, error)",
        ]
        return "\n".join(lines) + "\n"

    def _event(self, event: type[Event]) -> Lines:
        """The branch of one event type: bring it up to date, find its row, fold."""
        handler = self.spec.handlers.get(event)
        lines = [
            f"if e.{SCHEMA_VERSION} != {event_spec(event).version}:",
            "    e = recover(value)",
            *self._checks(event),
            "row = get(key)",
            "if row is None:",
            "    row = rows[key] = new_row(key)",
            # A seed's rows may be newer than the position that its version resumes from.
            f"elif offset <= row.{OFFSET}:",
            "    continue",
        ]
        seen = f"row.{SEEN}, e.event_id, time, {self.spec.dedupe_us}"
        if self.spec.dedupe_us:
            lines += [f"if e.event_id and is_duplicate({seen}):", "    continue"]
        folds = {
            name: fold_lines(f"t{index}", name, fold, term, hints=self.spec.hints, names=self.names)
            for index, (name, fold) in enumerate(self.spec.folds.items())
            for term in fold.terms
            if term.event is event
        }
        lines += self._folds(folds) if handler is None else self._handler(handler, folds)
        if self.spec.dedupe_us:
            lines += ["if e.event_id:", f"    remember({seen})"]
        return lines

    def _checks(self, event: type[Event]) -> Iterator[str]:
        """What a typed decoder cannot refuse: NaN and infinity as Decimal; and zones, which it keeps."""
        handled = event in self.spec.handlers
        decoded = self.decoding.wire[event].__struct_fields__
        hints = {name: hint for name, hint in event_spec(event).hints.items() if name in decoded}
        if handled and any(holds(hint, inspect.DateTimeType) for hint in hints.values()):
            yield "e = in_utc_throughout(e)"
        for name, hint in hints.items():
            kind = field_type(hint)
            guard = f"e.{name} is not None and " if kind.nullable else ""
            subject = f"  # {event.__name__}: `{name}`"
            if kind.base is datetime:
                yield f"if {guard}e.{name}.tzinfo is not UTC:"
                yield "    e = in_utc(e)"
            elif kind.base is Decimal:
                yield f"if {guard}not e.{name}.is_finite():"
                yield f"    raise Rejected(f'{event.__name__}: expected a finite number in `{name}`, got {{e.{name}}}')"
                if handled:
                    yield f"{f'e.{name} is None or ' if kind.nullable else ''}exact(e.{name}){subject}"

    def _folds(self, folds: dict[str, FoldLines]) -> Lines:
        """All folds of one event: everything that can raise is computed before the first assignment."""
        return [line for lines in folds.values() for line in lines.compute] + [
            line for lines in folds.values() for line in lines.assign
        ]

    def _handler(self, handler: Handler, folds: dict[str, FoldLines]) -> Lines:
        """Call a handler, check what it left, and restore the row if anything raises."""
        self.names[f"handle_{handler.name}"] = handler.function
        anything = uses_any_field(handler, self.view, self.spec.hints)
        saves, restores, folded, checks = self._guard(handler, folds, anything=anything)
        for field in self._fields_to_check(handler, anything=anything):
            subject = f"{handler.name} set `{field}`"
            kind = field_type(self.spec.hints[field])
            settled = f"settle_{field}_in_{handler.name}"
            self.names[settled] = settle(kind, subject)
            save, restore = self._undo(field, f"b{len(saves)}", copied=not kind.scalar)
            saves.append(save)
            restores.append(restore)
            if kind.scalar:
                checks += [f"v = row.{field}  # {subject}", *fit_lines("v", f"row.{field}", kind, settled, subject)]
            else:
                checks.append(f"row.{field} = {settled}(row.{field})  # {subject}")
        return [
            *saves,
            "try:",
            *indent([*self._folds(folds), *folded, f"handle_{handler.name}(row, e)", *checks], 4),
            "except BaseException:",
            *indent(restores or ["pass"], 4),
            "    raise",
        ]

    def _guard(
        self, handler: Handler, folds: dict[str, FoldLines], *, anything: bool
    ) -> tuple[Lines, Lines, Lines, Lines]:
        """Guard what is not the handler's own: the key, folds and their state.

        Returns:
            Lines that keep it; that bring it back; that run once the event is folded; that refuse changes after it.
        """
        saves = [line for lines in folds.values() for line in lines.prepare]
        restores: Lines = []
        folded: Lines = []
        checks: Lines = []
        for field, (role, fold) in self._not_for_handlers().items():
            in_place = field == fold and not field_type(self.spec.hints[field]).scalar
            guarded = anything or (in_place and field in handler.row.reads)
            if not guarded and fold not in folds:
                continue
            kept = f"b{len(saves)}"
            save, restore = self._undo(field, kept, copied=in_place and guarded)
            saves.append(save)
            restores.append(restore)
            if guarded:
                now = f"to_state(row.{field})" if in_place else f"row.{field}"
                if fold in folds:
                    kept = f"g{len(folded)}"
                    folded.append(f"{kept} = {now}")
                checks += self._unchanged(handler, field, now, kept, role)
        restores += [line for lines in folds.values() for line in lines.undo]
        return saves, restores, folded, checks

    def _unchanged(self, handler: Handler, field: str, now: str, kept: str, role: str) -> Lines:
        """Refuse a handler that left a field with another value."""
        refuse = f"meddled({handler.name!r}, {field!r}, {role!r})"
        if now != f"row.{field}":
            return [f"if {now} != {kept}:", f"    {refuse}"]
        if not field_type(self.spec.hints[field]).scalar:
            return [f"if {now} is not {kept}:", f"    {refuse}"]
        # An equal value is no change, and is not kept: whether it is the same object depends on what was read back.
        subject = f"{handler.name} set `{field}`"
        different = [f"if {now} != {kept}:  # {subject}", f"    {refuse}", f"{now} = {kept}"]
        return [f"if {now} is not {kept}:  # {subject}", *indent(different, 4)]

    def _not_for_handlers(self) -> dict[str, tuple[str, str | None]]:
        """Return field -> (what it is, the fold that it belongs to) for all that handlers must leave alone."""
        fields: dict[str, tuple[str, str | None]] = dict.fromkeys(self.spec.key, ("the key", None))
        for fold in self.spec.folds:
            fields[fold] = ("a fold", fold)
            fields |= dict.fromkeys(self._state_of(fold), ("the state of a fold", fold))
        fields |= {SEEN: ("what removes duplicates", None)} if self.spec.dedupe_us else {}
        return fields | {OFFSET: ("the row's position", None)}

    def _undo(self, field: str, kept: str, *, copied: bool) -> tuple[str, str]:
        """Return (line that keeps a field, line that brings it back); a copy outlives changes in place."""
        if not copied:
            return f"{kept} = row.{field}", f"row.{field} = {kept}"
        reader = f"{field}_from_state"
        self.names[reader] = msgspec.msgpack.Decoder(field_type(self.spec.hints[field]).wire).decode
        return f"{kept} = to_state(row.{field})", f"row.{field} = {reader}({kept})"

    def _state_of(self, fold: str) -> list[str]:
        """Return the names of the fields that a fold keeps beside its column."""
        return [f"_{fold}_{part.suffix}" for part in hidden_fields(self.spec.folds[fold], self.spec.hints[fold])]

    def _fields_to_check(self, handler: Handler, *, anything: bool) -> list[str]:
        """Fields that a handler may leave changed: those it sets, and those it reads that can be changed in place."""
        own = [name for name in self.spec.hints if name not in self._not_for_handlers()]
        in_place = {name for name in own if not field_type(self.spec.hints[name]).scalar} & handler.row.reads
        return own if anything else [name for name in own if name in handler.row.writes or name in in_place]


def meddled(handler: str, field: str, role: str) -> None:
    """Refuse what a handler did to a field that is not its own.

    Raises:
        Rejected: Always.
    """
    raise Rejected(f"{handler} set `{field}`: expected it to be left alone, since it is {role}")
