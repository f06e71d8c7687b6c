"""Classify the types of event and view fields: what is nullable, exact, a column of which type, checked how.

Pure. A *scalar* is a type whose values are immutable and checked by their class alone; everything else (lists, dicts,
structs, enums, types with limits, ...) is *composite*: its values are checked, and copied, by writing and reading them.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import inspect

from kappa.model.schema import ColumnType

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_COLUMN_TYPES: dict[Any, ColumnType] = {
    str: ColumnType.TEXT,
    int: ColumnType.INTEGER,
    float: ColumnType.REAL,
    bool: ColumnType.BOOLEAN,
    Decimal: ColumnType.DECIMAL,
    datetime: ColumnType.TIMESTAMP,
    date: ColumnType.DATE,
}
# In JSON these are one text, so their column is the text itself.
_TEXT_IN_JSON = (UUID, time, timedelta, bytes)
_JSON_KEYS = (
    inspect.AnyType,
    inspect.StrType,
    inspect.IntType,
    inspect.LiteralType,
    inspect.EnumType,
    inspect.UUIDType,
    inspect.DateType,
    inspect.DateTimeType,
    inspect.DecimalType,
)


class FieldType(msgspec.Struct, frozen=True):
    """A field's type, taken apart.

    Attributes:
        base: The type without `None` and limits; for a Literal, the type of its values.
        nullable: Whether None is allowed.
        limits: What was declared, if it allows fewer values than `base`: a Literal, or an Annotated. Else None.
    """

    base: Any
    nullable: bool
    limits: Any = None

    @property
    def scalar(self) -> bool:
        """Whether values are immutable and can be checked by class."""
        return self.has_scalar_base and self.limits is None

    @property
    def has_scalar_base(self) -> bool:
        """Whether values are of a scalar's class, within limits or not: they have an order and an identity."""
        return self.base in _COLUMN_TYPES

    @property
    def column_type(self) -> ColumnType:
        """The type of a column that holds such values."""
        if self.base in _TEXT_IN_JSON:
            return ColumnType.TEXT
        kind = _value_type(self.base) if _is_enum(self.base) else self.base
        return _COLUMN_TYPES.get(kind, ColumnType.JSON)

    @property
    def wire(self) -> Any:
        """The type to decode such values with.

        Integers have 64 bits because no store holds more; times have a zone because one without is no point in time.
        """
        kind = self.base if self.limits is None else self.limits
        metas = [meta for meta in typing.get_args(kind) if isinstance(meta, msgspec.Meta)]
        if self.base is int and typing.get_origin(kind) is not Literal:
            if all(meta.ge is None and meta.gt is None for meta in metas):
                kind = Annotated[kind, msgspec.Meta(ge=INT_MIN)]
            if all(meta.le is None and meta.lt is None for meta in metas):
                kind = Annotated[kind, msgspec.Meta(le=INT_MAX)]
        if self.base is datetime and all(meta.tz is None for meta in metas):
            kind = Annotated[kind, msgspec.Meta(tz=True)]
        return kind | None if self.nullable else kind

    def __str__(self) -> str:
        name = type_name(self.base if self.limits is None else self.limits)
        return f"{name} | None" if self.nullable and self.base is not Any else name


def field_type(hint: Any) -> FieldType:
    """Take a type hint apart.

    >>> str(field_type(Decimal | None)), field_type(int).scalar, field_type(list[str]).scalar
    ('Decimal | None', True, False)
    >>> field_type(Literal["a", "b"])
    FieldType(base=<class 'str'>, nullable=False, limits=typing.Literal['a', 'b'])
    """
    hint = _named(hint)
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    rest = [member for member in members if member is not types.NoneType]
    nullable = len(rest) < len(members)
    if len(rest) != 1:
        return FieldType(typing.Union[tuple(rest)] if rest else types.NoneType, nullable)  # noqa: UP007 - built at run time
    base, limits = _named(rest[0]), None
    if typing.get_origin(base) is Annotated:
        inner = field_type(typing.get_args(base)[0])
        nullable = nullable or inner.nullable
        if inner.has_scalar_base:
            base, limits = inner.base, _limited(inner, base.__metadata__)
    elif typing.get_origin(base) is Literal:
        nullable = nullable or None in typing.get_args(base)
        base, limits = _value_type(base), base
    return FieldType(base, nullable or base is Any, limits)


def _named(hint: Any) -> Any:
    """Return the type that a NewType or a type alias stands for, or the type itself."""
    while (meant := getattr(hint, "__supertype__", None) or getattr(hint, "__value__", None)) is not None:
        hint = meant
    return hint


def type_name(hint: Any) -> str:
    """Return a type as people write it.

    >>> type_name(Decimal), type_name(list[datetime]), type_name(Literal["a"])
    ('Decimal', 'list[datetime]', "Literal['a']")
    """
    if hint is types.NoneType:
        return "None"
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return (
        str(hint).replace("typing.", "").replace("datetime.datetime", "datetime").replace("decimal.Decimal", "Decimal")
    )


def flaw_of_type(hint: Any) -> tuple[str, str] | None:
    """Say why values of a type cannot be folded, or cannot be folded alike every time: (what is wrong, remedy) or None.

    >>> flaw_of_type(dict[str, set[int]])
    ('holds a set, which has no stable order', 'declare a list, or dict[str, bool] for membership')
    """
    try:
        parts = list(_parts(hint))
    except Exception as error:  # noqa: BLE001 - resolving the types of a user's class runs the user's code
        return f"has a type that cannot be read: {error}", "declare types that msgspec can read from JSON"
    return next((flaw for part in parts if (flaw := _flaw(part)) is not None), None)


def _flaw(part: inspect.Type) -> tuple[str, str] | None:
    match part:
        case inspect.SetType() | inspect.FrozenSetType():
            return "holds a set, which has no stable order", "declare a list, or dict[str, bool] for membership"
        case inspect.CustomType():
            return (
                f"holds {type_name(part.cls)}, which cannot be read from JSON",
                "declare a msgspec.Struct or dataclass",
            )
        case inspect.RawType() | inspect.ExtType() | inspect.MemoryViewType():
            return "holds bytes that belong to something else", "declare bytes, or the type that they stand for"
        case inspect.DateTimeType(tz=False):
            return "holds times without zone, which are no points in time", "declare datetime"
        case inspect.DictType() if not isinstance(part.key_type, _JSON_KEYS):
            return "holds a dict whose keys cannot be written as JSON", "declare text or numbers as keys"
    return None


def holds(hint: Any, *kinds: type[inspect.Type]) -> bool:
    """Say whether values of a type may hold such values, below the top level.

    >>> holds(list[datetime], inspect.DateTimeType), holds(datetime, inspect.DateTimeType)
    (True, False)
    """
    _, *below = _parts(field_type(hint).base)
    return any(isinstance(part, kinds) for part in below)


def _parts(hint: Any) -> Iterator[inspect.Type]:
    """Yield a type and all the types in it, each class once."""
    seen: set[type] = set()
    waiting: list[inspect.Type] = [inspect.type_info(hint)]
    while waiting:
        part = waiting.pop(0)
        if (cls := getattr(part, "cls", None)) is not None:
            if cls in seen:
                continue
            seen.add(cls)
        yield part
        for name in part.__struct_fields__:
            value = getattr(part, name)
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, inspect.Field):
                    waiting.append(inner.type)
                elif isinstance(inner, inspect.Type):
                    waiting.append(inner)


def _limited(kind: FieldType, metadata: tuple[Any, ...]) -> Any:
    """Return the limits of a type with msgspec's among the metadata added; other metadata limit nothing."""
    names = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")
    metas = [meta for meta in metadata if isinstance(meta, msgspec.Meta)]
    if all(getattr(meta, name) is None for meta in metas for name in names):
        return kind.limits
    return Annotated[(kind.base if kind.limits is None else kind.limits, *metas)]


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _value_type(kind: Any) -> Any:
    """Return the one class that all values of a Literal or an Enum have, or else the Literal or the Enum itself."""
    values = [member.value for member in kind] if _is_enum(kind) else typing.get_args(kind)
    classes = {type(value) for value in values if value is not None}
    return classes.pop() if len(classes) == 1 else kind
