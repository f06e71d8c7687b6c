"""What may stand in a row: values are checked, and brought into the form in which state would read them back.

A row in memory must be exactly what its state bytes say, or its future would depend on when it left memory. Pure.
"""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import inspect

from kappa.model.types import INT_MAX, INT_MIN, FieldType, holds

# Decimals have at most this many digits, and their sums are exact or refused. It costs nothing until it is used.
DECIMAL_DIGITS_MAX = 1_000
# Both contexts say everything themselves: what they left out would come from the process's own.
EXACT = decimal.Context(
    prec=DECIMAL_DIGITS_MAX,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=1 - DECIMAL_DIGITS_MAX,
    Emax=DECIMAL_DIGITS_MAX - 1,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.Clamped],
)
# Decimals in handlers and expressions behave as in a fresh interpreter, whatever the process has set.
FRESH = decimal.Context(
    prec=28,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
NOT_EXACT = f"expected a finite `Decimal` of at most {DECIMAL_DIGITS_MAX:,} digits"
_SHOWN_CHARACTERS_MAX = 80
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

Settle = Callable[[Any], Any]


class Rejected(Exception):
    """A record cannot be decoded or folded; the message is the dead letter's reason."""


def settle(kind: FieldType, what: str) -> Settle:
    """Return a function that returns a value as state would read it back.

    The function raises `Rejected` if the value is not of this kind; `what` begins the reason.

    >>> from kappa.model.types import field_type
    >>> settle(field_type(float), "promoted set `score`")(3)
    3.0
    >>> settle(field_type(float), "promoted set `score`")("high")
    Traceback (most recent call last):
    kappa.model.values.Rejected: promoted set `score`: expected `float`, got `str` 'high'
    """
    return _settle_scalar(kind, what) if kind.scalar else _settle_composite(kind, what)


def _settle_scalar(kind: FieldType, what: str) -> Settle:
    fitting = _FITTING.get(kind.base, _as_it_is)

    def settle_scalar(value: Any) -> Any:
        if value is None and kind.nullable:
            return None
        if value.__class__ is kind.base or (kind.base is float and value.__class__ is int):
            try:
                return fitting(value)
            except (ValueError, ArithmeticError) as error:
                raise Rejected(f"{what}: {_OUT_OF_RANGE[kind.base]}") from error
        raise Rejected(f"{what}: expected `{kind}`, got {shown(value)}")

    return settle_scalar


def _settle_composite(kind: FieldType, what: str) -> Settle:
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(kind.wire).decode
    to_json = msgspec.json.Encoder().encode
    simple = kind.base is not Any and not holds(kind.base, *_NOT_SIMPLE)

    def settle_composite(value: Any) -> Any:
        try:
            if not simple or isinstance(value, _UNORDERED):
                refuse_flaws(value)
                to_json(value)
            return decode(encode(value))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise Rejected(f"{what}: {_sentence(error)}") from error

    return settle_composite


def refuse_flaws(value: Any) -> None:
    """Refuse what encoders would take, but not bring back the same in every run, anywhere in a value.

    Raises:
        ValueError: There is a set, NaN or infinity.
    """
    match value:
        case set() | frozenset():
            raise ValueError("expected a list, got a set, which has no stable order")
        case float() if not math.isfinite(value):
            raise ValueError(f"expected a finite number, got {value}")
        case Decimal() if not value.is_finite():
            raise ValueError(f"expected a finite number, got {value}")
        case list() | tuple():
            for item in value:
                refuse_flaws(item)
        case dict():
            for key, item in value.items():
                refuse_flaws(key)
                refuse_flaws(item)
        case _:
            names = getattr(value, "__struct_fields__", ()) or getattr(value, "__dataclass_fields__", ())
            for name in names:
                refuse_flaws(getattr(value, name))


def raised(error: BaseException) -> str:
    """Return what dead letters say of an exception of the user's code: without addresses, whatever its text does."""
    try:
        said = "" if isinstance(error, RecursionError) else _ADDRESS.sub("", str(error))
    except Exception:  # noqa: BLE001 - a text that cannot be had must not cost the batch
        said = ""
    return f"raised {type(error).__name__}: {said}" if said else f"raised {type(error).__name__}"


def shown(value: object) -> str:
    """Return what dead letters say of a value: the same in every run, whatever the value."""
    name = f"`{type(value).__name__}`"
    if type(value) not in _SHOWN or (type(value) is int and not INT_MIN <= value <= INT_MAX):
        return name
    return (
        f"{name} {value[:_SHOWN_CHARACTERS_MAX]!r}"
        if type(value) is str
        else f"{name} {str(value)[:_SHOWN_CHARACTERS_MAX]}"
    )


def _as_it_is(value: Any) -> Any:
    return value


def _text(value: str) -> str:
    value.encode()
    return value


def _int(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise OverflowError
    return value


def _float(value: float) -> float:
    if not math.isfinite(value := float(value)):
        raise OverflowError
    return value


def _exact(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError
    return EXACT.plus(value)


def _utc(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise ValueError
    return value.astimezone(UTC)


def _sentence(error: Exception) -> str:
    """Return an error of a codec as the dead letter says it."""
    if isinstance(error, UnicodeError):
        return _OUT_OF_RANGE[str]
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, OverflowError):
        return _OUT_OF_RANGE[int]
    return str(error)


_SHOWN = (str, int, float, bool, Decimal, datetime, type(None))
_UNORDERED = (set, frozenset)
_FITTING: dict[Any, Settle] = {str: _text, int: _int, float: _float, Decimal: _exact, datetime: _utc}
_OUT_OF_RANGE = {
    str: "expected text in Unicode, got half of a surrogate pair",
    int: "expected an `int` of 64 bits, got a larger one",
    float: "expected a finite `float`, got NaN, infinity or a larger number",
    Decimal: NOT_EXACT,
    datetime: "expected a `datetime` with a zone, between the years 1 and 9999 in UTC",
}
# Parts of types whose values may be flawed, or have keys that JSON does not have, though state could be written.
_NOT_SIMPLE = (
    inspect.AnyType,
    inspect.FloatType,
    inspect.DecimalType,
    inspect.ListType,
    inspect.VarTupleType,
    inspect.TupleType,
    inspect.NamedTupleType,
)
