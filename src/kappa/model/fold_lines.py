"""Write the lines that fold one event into one field, for the loop that `codegen` puts together. Pure.

In the lines, `e` is the event and `row` the row. A comment at the end of a line that may raise says what it works on.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from kappa.model.expressions import Field, to_python, type_of
from kappa.model.folds import Fold, FoldKind, FoldTerm
from kappa.model.types import INT_MAX, INT_MIN, FieldType, field_type
from kappa.model.values import settle

_FLOAT_MAX = 1.7976931348623157e308

Lines = list[str]


class FoldLines(msgspec.Struct, frozen=True):
    """The lines of one fold of one event.

    Attributes:
        compute: Lines that may raise, and change nothing.
        assign: Lines that change the row, and cannot raise.
        prepare: Lines that run before all others, wherever `undo` may run.
        undo: Lines that take back what saving the fold's fields would not.
    """

    compute: Lines
    assign: Lines
    prepare: Lines = []
    undo: Lines = []


def fold_lines(
    temp: str, name: str, fold: Fold, term: FoldTerm, *, hints: Mapping[str, Any], names: dict[str, Any]
) -> FoldLines:
    """Return the lines of one term of a fold.

    Args:
        temp: A variable for its value; names that begin with it are free, too.
        name: The fold's field.
        fold: The fold.
        term: The term of the event in question.
        hints: Types of all fields of the row.
        names: What the lines refer to by name is added to this.
    """
    writer = _FoldWriter(temp, name, term, names)
    conditions = []
    if term.where is not None:
        code = to_python(term.where, event="e", constants=names)
        conditions.append(f"{code} is True" if type_of(term.where).nullable else code)
    value = "" if term.value is None else to_python(term.value, event="e", constants=names)
    if term.value is not None and type_of(term.value).nullable and fold.kind not in (FoldKind.FIRST, FoldKind.LATEST):
        conditions.append(f"({temp} := {value}) is not None")
        value = temp
    match fold.kind:
        case FoldKind.COUNT:
            lines = FoldLines([], [f"row.{name} += 1"])
        case FoldKind.TOTAL:
            compute = writer.sum(f"row.{name}", value, field_type(hints[name]).base)
            lines = FoldLines(compute, [f"row.{name} = {temp}"])
        case FoldKind.AVERAGE:
            lines = writer.average(value, field_type(hints[f"_{name}_total"]).base)
        case FoldKind.DISTINCT:
            lines = writer.distinct(value)
        case FoldKind.MINIMUM | FoldKind.MAXIMUM:
            lines = writer.extreme("<" if fold.kind is FoldKind.MINIMUM else ">", value)
        case FoldKind.FIRST:
            lines = writer.first(value)
        case FoldKind.LATEST:
            lines = writer.latest(value)
    return writer.only_where(" and ".join(conditions), lines) if conditions else lines


class _FoldWriter:
    """Writes the lines of one fold of one event; attributes as the arguments of `fold_lines`."""

    def __init__(self, temp: str, name: str, term: FoldTerm, names: dict[str, Any]) -> None:
        self.temp, self.name, self.term, self.names = temp, name, term, names
        self.field = f"row.{name}"
        self.subject = f"{term.event.__name__}: `{name}`"

    def only_where(self, condition: str, lines: FoldLines) -> FoldLines:
        """Run lines only where a condition is true."""
        wanted = f"{self.temp}w"
        compute = [f"if {wanted}:", *indent(lines.compute, 4)] if lines.compute else []
        return msgspec.structs.replace(
            lines,
            compute=[f"{wanted} = {condition}  # {self.subject}", *compute],
            assign=[f"if {wanted}:", *indent(lines.assign, 4)],
        )

    def sum(self, summed: str, value: str, base: Any) -> Lines:
        """Add to a running sum, and refuse a result that cannot be stored."""
        if base is Decimal:
            return [f"{self.temp} = exact_add({summed}, {value})  # {self.subject}"]
        bound = (INT_MIN, INT_MAX) if base is int else (-_FLOAT_MAX, _FLOAT_MAX)
        return [
            f"{self.temp} = {summed} + {value}  # {self.subject}",
            f"if not {bound[0]} <= {self.temp} <= {bound[1]}:",
            f"    raise Rejected('{self.subject}: expected a sum of 64 bits')",
        ]

    def average(self, value: str, base: Any) -> FoldLines:
        """Divide the exact total by the count."""
        summed, count = f"row._{self.name}_total", f"row._{self.name}_count"
        mean = f"{self.temp}m"
        compute = [*self.sum(summed, value, base), f"{mean} = {self.temp} / ({count} + 1)  # {self.subject}"]
        return FoldLines(compute, [f"{summed} = {self.temp}", f"{count} += 1", f"{self.field} = {mean}"])

    def distinct(self, value: str) -> FoldLines:
        """Count a value that is new. Values are never copied, for there may be many: a new one is taken out again."""
        temp, new, values = self.temp, f"{self.temp}n", f"row._{self.name}_values"
        return FoldLines(
            [*self._storable(value), f"{new} = {temp} not in {values}"],
            [f"if {new}:", f"    {values}[{temp}] = True", f"    {self.field} += 1"],
            prepare=[f"{new} = False"],
            undo=[f"if {new}:", f"    {values}.pop({temp}, None)"],
        )

    def extreme(self, sign: str, value: str) -> FoldLines:
        """Keep the value unless the row's own is as good."""
        # The comparison may raise, so the result is known before anything is assigned.
        compute = [
            *self._storable(value),
            f"if {self.field} is not None and not {self.temp} {sign} {self.field}:  # {self.subject}",
            f"    {self.temp} = {self.field}",
        ]
        return FoldLines(compute, [f"{self.field} = {self.temp}"])

    def first(self, value: str) -> FoldLines:
        """Keep the value if there was none before, not even None."""
        seen = f"row._{self.name}_seen"
        assign = [f"if not {seen}:", f"    {self.field} = {self.temp}", f"    {seen} = True"]
        return FoldLines([f"if not {seen}:", *indent(self._storable(value), 4)], assign)

    def latest(self, value: str) -> FoldLines:
        """Keep the value."""
        return FoldLines(self._storable(value), [f"{self.field} = {self.temp}"])

    def _storable(self, value: str) -> Lines:
        """Compute a value that no sum will check, and make sure that it can be stored if nothing else does."""
        assert self.term.value is not None
        kind, temp = type_of(self.term.value), self.temp
        lines = [] if value == temp else [f"{temp} = {value}  # {self.subject}"]
        if isinstance(self.term.value, Field) and kind.has_scalar_base and kind.base is not Decimal:
            return lines  # the decoder has checked it
        settled = f"settle_{self.name}_of_{self.term.event.__name__}"
        if kind.has_scalar_base:
            kind = FieldType(kind.base, nullable=kind.nullable)
            lines += fit_lines(temp, temp, kind, settled, self.subject)
        else:
            lines.append(f"{temp} = {settled}({temp})")
        self.names[settled] = settle(kind, self.subject)
        return lines


def fit_lines(value: str, target: str, kind: FieldType, settled: str, subject: str) -> Lines:
    """Return lines that assign what `settled(value)` returns, with fewer calls if a scalar's class is right.

    A look at the class takes 20 ns, where writing and reading the row would take 1,000.
    """
    guard = f"{value} is not None and " if kind.nullable else ""
    unfit = f"{value}.__class__ is not {kind.base.__name__}"
    match kind.base.__name__:
        case "Decimal":
            return [
                f"if {value}.__class__ is Decimal and {value}.is_finite():",
                f"    {target} = exact({value})  # {subject}",
                f"elif {value} is not None:" if kind.nullable else "else:",
                f"    {target} = {settled}({value})",
            ]
        case "str":
            unfit += f" or not {value}.isascii()"
        case "int":
            unfit += f" or not {INT_MIN} <= {value} <= {INT_MAX}"
        case "float":
            unfit += f" or {value} - {value} != 0.0"
        case "datetime":
            unfit += f" or {value}.tzinfo is not UTC"
    return [f"if {guard}({unfit}):" if guard else f"if {unfit}:", f"    {target} = {settled}({value})"]


def indent(lines: Lines, spaces: int) -> Lines:
    """Return lines further to the right."""
    return [" " * spaces + line for line in lines]
