"""Folds: declared aggregates of events, which the planner can understand and any engine can compute. Pure.

`total_orders: int = count(OrderPlaced)` declares what a handler would do by hand. To a type checker the
functions below return the field's type; at run time they return a `Fold`, which the view's metaclass takes from there.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar, cast

import msgspec

from kappa.errors import DefinitionError
from kappa.model.events import Event
from kappa.model.expressions import Expression, as_expression, fields_of, type_of
from kappa.model.places import calling_frame, place_of_frame
from kappa.model.types import FieldType, field_type

T = TypeVar("T")


class FoldKind(StrEnum):
    """What a fold computes."""

    COUNT = "count"
    TOTAL = "total"
    AVERAGE = "average"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    FIRST = "first"
    LATEST = "latest"
    DISTINCT = "distinct"


class FoldTerm(msgspec.Struct, frozen=True):
    """One event type's contribution to a fold.

    Attributes:
        event: The event class.
        value: What it contributes; None for a count.
        where: Only events for which this is true contribute; None for all.
    """

    event: type[Event]
    value: Expression | None
    where: Expression | None

    def __str__(self) -> str:
        value = self.event.__name__ if self.value is None else str(self.value)
        return value if self.where is None else f"{value} where {self.where}"


class Fold(msgspec.Struct, frozen=True):
    """A declared fold.

    Attributes:
        kind: What it computes.
        terms: One per event type; no type twice.
        place: `file:line` of the declaration, if known.
    """

    kind: FoldKind
    terms: tuple[FoldTerm, ...]
    place: str | None

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, self.terms))})"


class HiddenField(msgspec.Struct, frozen=True):
    """State that a fold keeps beside its column: `suffix` is appended to `_` and the column's name."""

    suffix: str
    type: Any
    initial: Any


def count(*events: type[Event], where: Any = None) -> int:
    """Count events of these types, or those for which `where` is true. Column: int, from 0."""
    return cast("int", _fold(FoldKind.COUNT, events, where))


def total(*values: T | None, where: Any = None) -> T:
    """Add up a field or an expression; nulls add nothing. Column: its type, from 0. Decimal and int sums are exact."""
    return cast("T", _fold(FoldKind.TOTAL, values, where))


def average(*values: Any, where: Any = None) -> Any:
    """Divide the exact total by the count of non-null values. Column: `Decimal | None` or `float | None`."""
    return _fold(FoldKind.AVERAGE, values, where)


def minimum(*values: T | None, where: Any = None) -> T | None:
    """Keep the least non-null value. Column: its type `| None`, null at first."""
    return cast("T", _fold(FoldKind.MINIMUM, values, where))


def maximum(*values: T | None, where: Any = None) -> T | None:
    """Keep the greatest non-null value. Column: its type `| None`, null at first."""
    return cast("T", _fold(FoldKind.MAXIMUM, values, where))


def first(*values: T | None, where: Any = None) -> T | None:
    """Keep the value of the first event in log order, even if it is null. Column: its type `| None`."""
    return cast("T", _fold(FoldKind.FIRST, values, where))


def latest(*values: T | None, where: Any = None) -> T | None:
    """Keep the value of the last event in log order, even if it is null. Column: its type `| None`."""
    return cast("T", _fold(FoldKind.LATEST, values, where))


def distinct(*values: Any, where: Any = None) -> int:
    """Count distinct non-null values. Column: int, from 0. Exact, so the state holds every value once."""
    return cast("int", _fold(FoldKind.DISTINCT, values, where))


def _fold(kind: FoldKind, arguments: tuple[Any, ...], where: Any) -> Fold:
    place = place_of_frame(calling_frame())
    if not arguments:
        raise DefinitionError(f"{kind}() needs an argument", next_step=f"{kind}(OrderPlaced...)", where=place)
    condition = None if where is None else _condition(kind, where, place)
    terms = tuple(_term(kind, argument, condition, place) for argument in arguments)
    events = [term.event for term in terms]
    if len(set(events)) < len(events):
        raise DefinitionError(
            f"{kind}() takes one argument per event type", next_step="split it into two fields", where=place
        )
    return Fold(kind, terms, place)


def _condition(kind: FoldKind, where: Any, place: str | None) -> Expression:
    condition = as_expression(where)
    if not fields_of(condition):
        raise DefinitionError(
            f"{kind}(): `where` is {where!r} for every event",
            next_step="compare with == and !=, also with None: `is`, `in` and `not` cannot be overloaded",
            where=place,
        )
    if type_of(condition).base is not bool:
        raise DefinitionError(
            f"{kind}(): `where` is not a condition: {condition}", next_step="compare it with something", where=place
        )
    return condition


def _term(kind: FoldKind, argument: Any, where: Expression | None, place: str | None) -> FoldTerm:
    if kind is FoldKind.COUNT:
        if not (isinstance(argument, type) and issubclass(argument, Event)):
            raise DefinitionError(
                f"count() takes event types, got {argument}", next_step="write count(OrderPlaced)", where=place
            )
        event, value = argument, None
    else:
        value = as_expression(argument)
        event = _event_of(kind, value, place)
    if event is Event:
        raise DefinitionError(
            f"{kind}() takes an event type, and Event is their base",
            next_step=f"write {kind}(OrderPlaced...)",
            where=place,
        )
    if where is not None and any(field.event is not event for field in fields_of(where)):
        raise DefinitionError(
            f"{kind}(): `where` reads another event type than {event.__name__}: {where}",
            next_step="a condition sees one event; write a handler to combine events",
            where=place,
        )
    return FoldTerm(event, value, where)


def _event_of(kind: FoldKind, value: Expression, place: str | None) -> type[Event]:
    events = {field.event for field in fields_of(value)}
    if len(events) != 1:
        raise DefinitionError(
            f"{kind}() takes fields of one event type, got {value}",
            next_step=f"write {kind}(OrderPlaced.amount)",
            where=place,
        )
    return cast("type[Event]", events.pop())


def check_fold(fold: Fold, hint: Any, *, view: str, field: str) -> None:
    """Check that a field's declared type can hold what its fold computes.

    Raises:
        DefinitionError: It cannot; the message names the type to declare.
    """
    declared = field_type(hint)
    for term in fold.terms:
        if (problem := _problem(fold.kind, term)) is not None:
            raise DefinitionError(
                f"view {view}: field '{field}' cannot be {fold.kind}({term}): {problem}",
                next_step="write a handler",
                where=fold.place,
            )
        wanted = _wanted_type(fold.kind, term, declared)
        if declared not in (wanted, msgspec.structs.replace(wanted, limits=None)):
            raise DefinitionError(
                f"view {view}: field '{field}' is declared {declared}, but {fold.kind}({term}) gives {wanted}",
                next_step=_remedy(term, declared, wanted, field),
                where=fold.place,
            )
    if fold.kind is FoldKind.DISTINCT and len(_bases(fold)) > 1:
        raise DefinitionError(
            f"view {view}: field '{field}' counts distinct values of several types: {fold}",
            next_step="split it into two fields: values of different types are never equal",
            where=fold.place,
        )


def _bases(fold: Fold) -> set[Any]:
    """Return the types of the values that a fold takes."""
    return {type_of(term.value).base for term in fold.terms if term.value is not None}


def _problem(kind: FoldKind, term: FoldTerm) -> str | None:
    """Say why a fold of this kind cannot take this value at all, or return None."""
    if term.value is None:
        return None
    value = type_of(term.value)
    if kind in (FoldKind.TOTAL, FoldKind.AVERAGE) and value.base not in (int, float, Decimal):
        return f"{value} is no number"
    if kind in (FoldKind.DISTINCT, FoldKind.MINIMUM, FoldKind.MAXIMUM) and not value.has_scalar_base:
        return f"{value} has no order and no identity"
    return None


def _remedy(term: FoldTerm, declared: FieldType, wanted: FieldType, field: str) -> str:
    if declared.base is Decimal and wanted.base is float and term.value is not None:
        return f"a sum of floats is not exact: declare {fields_of(term.value)[0]} as Decimal in the event"
    return f"declare it as {field}: {wanted}"


def _wanted_type(kind: FoldKind, term: FoldTerm, declared: FieldType) -> FieldType:
    if term.value is None or kind is FoldKind.DISTINCT:
        return FieldType(int, nullable=False)
    value = type_of(term.value)
    if kind in (FoldKind.TOTAL, FoldKind.AVERAGE):
        exact = value.base is Decimal or (value.base is int and declared.base is Decimal)
        inexact = kind is FoldKind.AVERAGE or value.base is float
        return FieldType(Decimal if exact else float if inexact else int, nullable=kind is FoldKind.AVERAGE)
    return msgspec.structs.replace(value, nullable=True)


def initial_value(fold: Fold, hint: Any) -> Any:
    """Return the value of a fold's field before its first event: 0 of the declared type, or None."""
    if fold.kind in (FoldKind.COUNT, FoldKind.DISTINCT):
        return 0
    return field_type(hint).base(0) if fold.kind is FoldKind.TOTAL else None


def hidden_fields(fold: Fold, hint: Any) -> tuple[HiddenField, ...]:
    """Return the state that a fold keeps beside its column.

    Args:
        fold: The fold.
        hint: The declared type of its field.
    """
    match fold.kind:
        case FoldKind.AVERAGE:
            kind = Decimal if field_type(hint).base is Decimal else float if float in _bases(fold) else int
            return (HiddenField("total", kind, kind(0)), HiddenField("count", int, 0))
        case FoldKind.FIRST:
            return (HiddenField("seen", bool, initial=False),)
        case FoldKind.DISTINCT:
            # A dict, for its insertion order: the same log gives the same bytes. A set has none.
            [base] = _bases(fold)
            return (HiddenField("values", dict[base, bool], {}),)  # type: ignore[valid-type]  # built at run time
        case _:
            return ()
