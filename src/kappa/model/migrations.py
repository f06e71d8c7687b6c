"""Migrations: what `@migrate` marks, functions that make a row's fields of those of a former version. Pure.

They make the rows that a version starts from, and fold nothing: a view's fingerprint does not cover them. When one is
used, and what it may leave out, is decided in `kappa.planning.migration`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from kappa.errors import DefinitionError
from kappa.model.places import calling_frame, place_of_frame, place_of_function

F = TypeVar("F", bound="Callable[..., Any] | staticmethod[..., Any]")
_MARK = "__kappa_migrate__"

# From the fields of a former version's row to those of this version's.
MigrateFields = Callable[[dict[str, Any]], Mapping[str, Any]]


class Migrator(msgspec.Struct, frozen=True):
    """A function of a view that brings rows of a former version into the view's shape.

    Attributes:
        name: Its name in the view.
        from_version: The version whose rows it takes.
        function: Called with the fields of a row.
        place: `file:line` of the function, if known.
    """

    name: str
    from_version: int
    function: MigrateFields
    place: str | None


def migrate(*, from_version: int) -> Callable[[F], F]:
    """Mark a function of a view that makes its rows of those of an earlier version, so that nothing is replayed.

    It takes the former row's fields, private ones too, and returns those of the new row. It sees no events, so it must
    be right about what they would have given: nobody else can know.

    >>> @migrate(from_version=1)
    ... def from_v1(old):
    ...     return {"name": f"{old['first_name']} {old['last_name']}"}
    """
    if type(from_version) is not int or from_version < 1:
        raise DefinitionError(
            f"@migrate takes the number of a former version, got from_version={from_version!r}",
            next_step="write @migrate(from_version=1); kappa versions shows the numbers",
            where=place_of_frame(calling_frame()),
        )

    def mark(function: F) -> F:
        setattr(_plain(function), _MARK, from_version)
        return function

    return mark


def migrators_in(namespace: Mapping[str, Any], *, view: str) -> dict[int, Migrator]:
    """Return former version -> migrator of all that are marked in a class body.

    Raises:
        DefinitionError: Two take the same version, or one is no function of the old fields.
    """
    found: dict[int, Migrator] = {}
    for name, value in namespace.items():
        if (migrator := _migrator(name, value)) is None:
            continue
        first = found.setdefault(migrator.from_version, migrator)
        if first is not migrator:
            raise DefinitionError(
                f"view {view} migrates rows of version {migrator.from_version} twice: {first.name} and {name}",
                next_step="delete one of them",
                where=migrator.place,
            )
    return found


def _migrator(name: str, value: Any) -> Migrator | None:
    function = _plain(value)
    if (from_version := getattr(function, _MARK, None)) is None or isinstance(value, type):
        return None
    place = place_of_function(function)
    asynchronous = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if not inspect.isfunction(function) or any(is_kind(function) for is_kind in asynchronous):
        raise DefinitionError(
            f"{name} cannot migrate rows: it is a {type(value).__name__}, asynchronous or a generator",
            next_step=f"write a plain function: def {name}(old: dict) -> dict",
            where=place,
        )
    try:
        inspect.signature(function).bind({})
    except TypeError as error:
        raise DefinitionError(
            f"{name} must take the old fields and nothing else: {error}",
            next_step=f"declare it as def {name}(old: dict) -> dict, without self",
            where=place,
        ) from None
    return Migrator(name, from_version, function, place)


def _plain(value: Any) -> Any:
    return value.__func__ if isinstance(value, staticmethod) else value
