"""Expressions over the fields of one event type: what folds take, compiled to Python here, to SQL by who needs it.

Nulls follow SQL: an operation on a null is null, `where` accepts only true. So an engine that computes in SQL agrees.
Class access to an event's field, `OrderPlaced.amount`, gives a `Field`; operators build the rest. Pure.
"""

from __future__ import annotations

import typing
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

from kappa.errors import DefinitionError
from kappa.model.places import calling_frame, place_of_frame
from kappa.model.types import FieldType, field_type

_COMPARISON = ("==", "!=", "<", "<=", ">", ">=")
_LOGIC = ("and", "or")
_NUMBERS = {int, bool, float, Decimal}
_CONSTANTS = (str, int, float, bool, Decimal, datetime, date, Enum)


class Expression:
    """A value computed from one event. Immutable. Operators give new expressions; `&`, `|`, `~` are and, or, not."""

    def __add__(self, other: Any) -> Expression:
        return _binary("+", self, other)

    def __radd__(self, other: Any) -> Expression:
        return _binary("+", other, self)

    def __sub__(self, other: Any) -> Expression:
        return _binary("-", self, other)

    def __rsub__(self, other: Any) -> Expression:
        return _binary("-", other, self)

    def __mul__(self, other: Any) -> Expression:
        return _binary("*", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return _binary("*", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return _binary("/", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return _binary("/", other, self)

    def __floordiv__(self, other: Any) -> Expression:
        return _binary("//", self, other)

    def __rfloordiv__(self, other: Any) -> Expression:
        return _binary("//", other, self)

    def __mod__(self, other: Any) -> Expression:
        return _binary("%", self, other)

    def __rmod__(self, other: Any) -> Expression:
        return _binary("%", other, self)

    def __neg__(self) -> Expression:
        return _binary("-", 0, self)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]  # an expression, as in every query builder
        return IsNull(self) if other is None else _binary("==", self, other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]  # see __eq__
        return Not(IsNull(self)) if other is None else _binary("!=", self, other)

    def __lt__(self, other: Any) -> Expression:
        return _binary("<", self, other)

    def __le__(self, other: Any) -> Expression:
        return _binary("<=", self, other)

    def __gt__(self, other: Any) -> Expression:
        return _binary(">", self, other)

    def __ge__(self, other: Any) -> Expression:
        return _binary(">=", self, other)

    def __and__(self, other: Any) -> Expression:
        return _binary("and", self, other)

    def __rand__(self, other: Any) -> Expression:
        return _binary("and", other, self)

    def __or__(self, other: Any) -> Expression:
        return _binary("or", self, other)

    def __ror__(self, other: Any) -> Expression:
        return _binary("or", other, self)

    def __invert__(self) -> Expression:
        return _checked(Not(self))

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise DefinitionError(
            f"{self} has no truth value: it is computed for each event",
            next_step="combine conditions with & and |, and negate with ~, in parentheses",
            where=place_of_frame(calling_frame()),
        )


class Field(Expression):
    """A field of an event type.

    Attributes:
        event: The event class.
        name: The field's name.
        type: Its type.
    """

    def __init__(self, event: type, name: str, hint: Any) -> None:
        self.event, self.name, self.type = event, name, field_type(hint)

    def __str__(self) -> str:
        return f"{self.event.__name__}.{self.name}"


class Constant(Expression):
    """A value that does not depend on the event."""

    def __init__(self, value: Any) -> None:
        if isinstance(value, Enum) and isinstance(value, str | int):
            value = value.value  # a StrEnum's member is a text, in Python as on the wire
        if not isinstance(value, _CONSTANTS):
            raise DefinitionError(
                f"{value!r} cannot stand in an expression",
                next_step="use fields of one event type, text, numbers, Decimal, datetime and date, or write a handler",
                where=place_of_frame(calling_frame()),
            )
        if isinstance(value, datetime) and value.utcoffset() is None:
            raise DefinitionError(
                f"{value!r} has no time zone, so it is no point in time",
                next_step="write datetime(..., tzinfo=UTC)",
                where=place_of_frame(calling_frame()),
            )
        if isinstance(value, float | Decimal) and not Decimal(value).is_finite():
            raise DefinitionError(
                f"{value!r} is not a finite number",
                next_step="leave it out: no event has such a value",
                where=place_of_frame(calling_frame()),
            )
        self.value = value

    def __str__(self) -> str:
        return repr(self.value)


class Binary(Expression):
    """Two operands and an operator, spelled as in Python."""

    def __init__(self, operator: str, left: Expression, right: Expression) -> None:
        self.operator, self.left, self.right = operator, left, right

    def __str__(self) -> str:
        return f"({self.left} {self.operator} {self.right})"


class Not(Expression):
    """Negation; null stays null."""

    def __init__(self, operand: Expression) -> None:
        self.operand = operand

    def __str__(self) -> str:
        return f"(not {self.operand})"


class IsNull(Expression):
    """Whether the operand is null; itself never null."""

    def __init__(self, operand: Expression) -> None:
        self.operand = operand

    def __str__(self) -> str:
        return f"({self.operand} is None)"


def _binary(operator: str, left: Any, right: Any) -> Expression:
    return _checked(Binary(operator, as_expression(left), as_expression(right)))


def _checked(expression: Expression) -> Expression:
    """Return an expression whose operands go together; an error names the line that combines them."""
    try:
        type_of(expression)
    except DefinitionError as error:
        error.where = place_of_frame(calling_frame())
        raise
    return expression


def as_expression(value: Any) -> Expression:
    """Return `value` as an expression: itself, or a constant.

    Raises:
        DefinitionError: It can be neither.
    """
    return value if isinstance(value, Expression) else Constant(value)


def fields_of(expression: Expression) -> list[Field]:
    """Return the fields that an expression reads, in order of appearance, repeated ones too."""
    match expression:
        case Field():
            return [expression]
        case Binary():
            return fields_of(expression.left) + fields_of(expression.right)
        case Not() | IsNull():
            return fields_of(expression.operand)
        case _:
            return []


def type_of(expression: Expression) -> FieldType:
    """Return the type of an expression's values.

    Raises:
        DefinitionError: Its operands do not go together.
    """
    match expression:
        case Field():
            return expression.type
        case Constant():
            return FieldType(type(expression.value), nullable=False)
        case IsNull():
            return FieldType(bool, nullable=False)
        case Not():
            if (operand := type_of(expression.operand)).base is not bool:
                raise _no_conditions(expression)
            return FieldType(bool, nullable=operand.nullable)
        case Binary():
            return _type_of_binary(expression)
    raise AssertionError(expression)


def _type_of_binary(expression: Binary) -> FieldType:
    left, right = type_of(expression.left), type_of(expression.right)
    nullable = left.nullable or right.nullable
    bases = {left.base, right.base}
    if expression.operator in _LOGIC:
        if bases != {bool}:
            raise _no_conditions(expression)
        return FieldType(bool, nullable=nullable)
    if {Decimal, float} <= bases:
        raise DefinitionError(
            f"{expression} mixes Decimal and float",
            next_step="declare the event's field as Decimal, or write the constant as Decimal('1.5')",
        )
    if expression.operator in _COMPARISON:
        if not _comparable(expression.operator, left, right):
            raise DefinitionError(
                f"{expression} compares {left} with {right}",
                next_step="compare values of one type; write a handler for anything else",
            )
        _refuse_impossible(expression)
        return FieldType(bool, nullable=nullable)
    if bases <= _NUMBERS:
        if Decimal in bases:
            return FieldType(Decimal, nullable=nullable)
        inexact = float in bases or expression.operator == "/"
        return FieldType(float if inexact else int, nullable=nullable)
    if expression.operator == "+" and bases == {str}:
        return FieldType(str, nullable=nullable)
    raise DefinitionError(
        f"{expression} cannot be computed: {left} {expression.operator} {right}",
        next_step="arithmetic takes numbers; write a handler for anything else",
    )


def _refuse_impossible(expression: Binary) -> None:
    """Refuse to compare a Literal field with a text that it cannot be: a slip of the pen.

    Raises:
        DefinitionError: The field's type does not have the value.
    """
    for one, other in ((expression.left, expression.right), (expression.right, expression.left)):
        limits = one.type.limits if isinstance(one, Field) else None
        if isinstance(other, Constant) and typing.get_origin(limits) is Literal:
            values = typing.get_args(limits)
            if other.value not in values:
                raise DefinitionError(
                    f"{one} is never {other}", next_step=f"choose one of: {', '.join(map(repr, values))}"
                )


def _no_conditions(expression: Expression) -> DefinitionError:
    return DefinitionError(
        f"{expression} combines what are no conditions",
        next_step="&, | and ~ take conditions in parentheses: (OrderPlaced.amount > 10) & (OrderPlaced.amount < 20)",
    )


def _comparable(operator: str, left: FieldType, right: FieldType) -> bool:
    bases = {left.base, right.base}
    if operator in ("==", "!="):
        # A StrEnum's members are text, so they equal the text that they are on the wire.
        of_one_kind = any(
            all(isinstance(base, type) and issubclass(base, kind) for base in bases) for kind in (str, int)
        )
        return len(bases) == 1 or bases <= _NUMBERS or of_one_kind
    return bases <= _NUMBERS or (len(bases) == 1 and left.has_scalar_base)


def to_python(expression: Expression, *, event: str, constants: dict[str, Any], temp: str = "n") -> str:
    """Return Python source that computes an expression from the event in variable `event`.

    Constants are added to `constants` under the names the source uses. Names that begin with `temp` are variables for
    parts that are needed twice, so that the source grows no faster than the expression.

    >>> from kappa.model.types import field_type
    >>> price = Field(type("Order", (), {}), "price", int | None)
    >>> to_python(price > 100, event="e", constants={})
    '(None if (n1 := e.price) is None else (n1 > c0))'
    """
    match expression:
        case Field():
            return f"{event}.{expression.name}"
        case Constant():
            name = f"c{len(constants)}"
            constants[name] = expression.value
            return name
        case IsNull():
            return f"({to_python(expression.operand, event=event, constants=constants, temp=temp)} is None)"
        case Not():
            code = to_python(expression.operand, event=event, constants=constants, temp=temp + "1")
            nullable = type_of(expression.operand).nullable
            return f"(None if ({temp} := {code}) is None else not {temp})" if nullable else f"(not {code})"
        case Binary():
            return _binary_to_python(expression, event=event, constants=constants, temp=temp)
    raise AssertionError(expression)


def _binary_to_python(expression: Binary, *, event: str, constants: dict[str, Any], temp: str) -> str:
    operands, names, nulls = [], [], []
    for number, operand in enumerate((expression.left, expression.right), 1):
        name = f"{temp}{number}"
        code = to_python(operand, event=event, constants=constants, temp=name)
        nullable = type_of(operand).nullable
        operands.append(f"({name} := {code})" if nullable else code)
        names.append(name if nullable else code)
        if nullable:
            nulls.append(number - 1)
    left, right = names
    if not nulls:
        return f"({left} {expression.operator} {right})"
    if expression.operator in _LOGIC:
        # Three-valued logic: false wins over null in `and`, true wins in `or`.
        wins, other = ("False", "True") if expression.operator == "and" else ("True", "False")
        unknown = " or ".join(f"{names[number]} is None" for number in nulls)
        return f"({wins} if {operands[0]} is {wins} or {operands[1]} is {wins} else None if {unknown} else {other})"
    unknown = " or ".join(f"{operands[number]} is None" for number in nulls)
    return f"(None if {unknown} else ({left} {expression.operator} {right}))"
