"""Make constants of the defaults of event and view fields: the same for every event and row, in every run. Pure."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from kappa.model.types import FieldType
from kappa.model.values import Rejected, settle

_FieldInfo = type(msgspec.field())


def constant_default(value: Any, kind: FieldType, *, what: str) -> Any:
    """Return what to write in a class body for a field's default, of exactly the field's type.

    A mutable default is copied for each instance.

    Args:
        value: The default as the user wrote it, perhaps a `msgspec.field(...)`.
        kind: The field's type.
        what: Names the field in the reason.

    Raises:
        Rejected: The default is not of this type, or comes from a function.

    >>> from kappa.model.types import field_type
    >>> constant_default(1, field_type(float), what="'rate'")
    1.0
    """
    name = None
    if isinstance(value, _FieldInfo):
        name = value.name
        if isinstance(value.default_factory, type) and value.default_factory is not type(msgspec.NODEFAULT):
            value = value.default_factory()
        elif value.default_factory is not msgspec.NODEFAULT:
            raise Rejected(f"{what}: a default_factory must be a class: a function may return something else each time")
        elif value.default is msgspec.NODEFAULT:
            return value
        else:
            value = value.default
    settled = settle(kind, what)(value)
    if not kind.scalar and settled is not None:
        return msgspec.field(default_factory=partial(settle(kind, what), settled), name=name)
    return settled if name is None else msgspec.field(default=settled, name=name)
