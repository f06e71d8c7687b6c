"""Handlers: what `@on` marks, and which fields of a row each may change, read from its source.

The kernel undoes a handler that raises, and checks what one has written. Knowing the fields keeps that cheap; where the
source does not tell (the row is handed on, or there is no source), every field counts. Pure.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec

from kappa.errors import DefinitionError
from kappa.model.events import Event
from kappa.model.places import calling_frame, place_of_frame, place_of_function

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__kappa_on__"


class Handler(msgspec.Struct, frozen=True):
    """A method that folds one event type.

    Attributes:
        name: Its name in the view.
        event: The event class.
        function: The method, called with the row and the event.
        row: What its source does with the row.
        argument: What its source does with the event.
        place: `file:line` of the method, if known.
    """

    name: str
    event: type[Event]
    function: Callable[[Any, Any], None]
    row: Use
    argument: Use
    place: str | None


class Use(msgspec.Struct, frozen=True):
    """How a function uses one of its arguments: which attributes, or that it does anything else with it.

    Attributes:
        writes: Names that it sets -> the line, in the function's file, that sets it first.
        deletes: Names that it deletes -> the line.
        reads: Names that it looks at, and may mutate in place.
        anything: Whether it may do more than that: the argument leaves the function, or the source is not known.
    """

    writes: Mapping[str, int] = {}
    deletes: Mapping[str, int] = {}
    reads: frozenset[str] = frozenset()
    anything: bool = True


def on(event: type[Event]) -> Callable[[F], F]:
    """Mark a method of a view as the handler of an event type. It may do anything deterministic to `self`.

    >>> class PageView(Event):
    ...     page: str
    >>> @on(PageView)
    ... def seen(self, event): ...
    """
    if not isinstance(event, type(Event)) or event is Event:
        raise DefinitionError(
            f"@on takes an event type, got {getattr(event, '__name__', event)}",
            next_step="write @on(OrderPlaced)",
            where=place_of_frame(calling_frame()),
        )

    def mark(function: F) -> F:
        setattr(function, _MARK, event)
        return function

    return mark


def handler_of(name: str, value: Any) -> Handler | None:
    """Return the handler that a class attribute is, or None if it is not marked.

    Raises:
        DefinitionError: It does not take exactly the row and the event, or is no plain function.
    """
    event = getattr(value, _MARK, None)
    wrapped = None if isinstance(value, type) else getattr(value, "__wrapped__", getattr(value, "fget", None))
    if event is None and getattr(wrapped, _MARK, None) is None:
        return None
    function = inspect.unwrap(value if wrapped is None else wrapped)
    place = place_of_function(function)
    if event is None or isinstance(value, staticmethod | classmethod | property):
        raise DefinitionError(
            f"handler {name} is a {type(value).__name__}: it would not be called with the row and the event",
            next_step="put @on(...) on the line above any other decorator, and leave out @staticmethod and the like",
            where=place,
        )
    asynchronous = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(function) for is_kind in asynchronous):
        raise DefinitionError(
            f"handler {name} is asynchronous or a generator",
            next_step="write it as a plain `def`: a handler does no I/O and has nothing to wait for",
            where=place,
        )
    try:
        inspect.signature(value).bind(None, None)
    except (TypeError, ValueError) as error:
        raise DefinitionError(
            f"handler {name} must take the row and the event: {error}",
            next_step=f"declare it as def {name}(self, event: {event.__name__}) -> None",
            where=place,
        ) from None
    row, argument = _uses(value)
    return Handler(name, event, value, row, argument, place)


def uses_any_field(handler: Handler, view: type, fields: Collection[str]) -> bool:
    """Say whether a handler may use any field of its row: its source does not tell, or calls methods and properties.

    Args:
        handler: The handler.
        view: Its view.
        fields: The names of the view's fields.
    """
    others = (handler.row.reads | handler.row.writes.keys()).difference(fields)
    constants = {name for name, value in vars(view).items() if not hasattr(value, "__get__")}
    return handler.row.anything or not others <= constants


def _uses(function: Any) -> tuple[Use, Use]:
    """Return how a handler uses the row and the event, as far as its source tells."""
    if hasattr(function, "__wrapped__"):
        return Use(), Use()  # the source would be that of the wrapped function, and the wrapper may do more
    try:
        lines, start = inspect.getsourcelines(function)
        [definition] = ast.parse(textwrap.dedent("".join(lines))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return Use(), Use()
    # The source of a lambda is the statement around it, which may be another function.
    if not isinstance(definition, ast.FunctionDef) or definition.name != function.__name__:
        return Use(), Use()
    parameters = definition.args.posonlyargs + definition.args.args
    uses = []
    for parameter in parameters[:2]:
        visitor = _UseVisitor(parameter.arg, line_offset=start - 1)
        for statement in definition.body:
            visitor.visit(statement)
        uses.append(Use(visitor.writes, visitor.deletes, frozenset(visitor.reads), visitor.anything))
    row, argument, *_ = *uses, Use(), Use()
    return row, argument


class _UseVisitor(ast.NodeVisitor):
    """Collects how a function's body uses a variable."""

    def __init__(self, name: str, *, line_offset: int) -> None:
        self.name, self.line_offset = name, line_offset
        self.writes: dict[str, int] = {}
        self.deletes: dict[str, int] = {}
        self.reads: set[str] = set()
        self.anything = False

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.value, ast.Name) or node.value.id != self.name:
            self.visit(node.value)
        elif isinstance(node.ctx, ast.Load):
            self.reads.add(node.attr)
        else:
            names = self.writes if isinstance(node.ctx, ast.Store) else self.deletes
            names.setdefault(node.attr, node.lineno + self.line_offset)

    def visit_Call(self, node: ast.Call) -> None:
        # A method may do anything to its object, and so may super().
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            self.anything |= function.value.id == self.name
        elif isinstance(function, ast.Name):
            self.anything |= function.id in ("super", "vars", "locals", "eval", "exec")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.anything |= node.id == self.name
