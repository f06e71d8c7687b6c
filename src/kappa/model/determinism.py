"""Find what would make a view give other rows when its log is replayed: clocks, I/O, hash order, hidden state.

A linter that follows calls. Names are resolved to the objects they stand for: `from datetime import datetime as dt` is
seen, and a function of the user's that is called `open` is left alone. It finds mistakes, not malice: what only a run
would tell stays unseen. Pure, apart from reading source.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import (
    Callable,
    Container,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from kappa.model.foreign import use_of
from kappa.model.reachable import Definition, reach
from kappa.model.source import UNKNOWN, Instance, OwnCode, node_of, walk_code

Severity = Literal["error", "warning"]

_MUTABLE = (MutableMapping, MutableSequence, MutableSet)
_MUTATORS = frozenset({"append", "appendleft", "extend", "extendleft", "insert", "pop", "popleft", "popitem", "remove"})
_MUTATORS |= {"discard", "clear", "add", "update", "setdefault", "sort", "reverse", "rotate", "subtract", "move_to_end"}
_MUTATORS |= {"difference_update", "intersection_update", "symmetric_difference_update"}
_KEEP_IN_ROW = "keep it in a private field of the view, whose name begins with an underscore"

_SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub)
_ORDERED = (list, tuple, iter, enumerate, zip, map, filter)
_INDIFFERENT = (sorted, set, frozenset, min, max, sum, any, all, len)


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something in a view's code that must not be there.

    Attributes:
        file, line: Where it stands.
        function: The qualified name of the function it stands in, which may be a helper that a handler calls.
        what: What is wrong, with the code in question.
        remedy: What to do instead.
        severity: A warning makes a replay noisy, not wrong.
    """

    file: str
    line: int
    function: str
    what: str
    remedy: str
    severity: Severity = "error"


class _Hit(NamedTuple):
    """A finding without its place."""

    line: int
    what: str
    remedy: str
    severity: Severity = "error"


def find_nondeterminism(
    functions: Iterable[Callable[..., Any]], project_root: Path, *, owner: type | None = None
) -> list[Finding]:
    """Return what makes functions depend on more than their arguments, there or in what they call; sorted by place.

    Arguments as in `reach`. Pass what the kernel calls, handlers and upcasters: they may be neither asynchronous nor
    generators. A helper that is defined further down is found only when the module is imported.
    """
    functions = list(functions)
    called = {inspect.unwrap(getattr(function, "__func__", function)) for function in functions}
    code = OwnCode(project_root)
    findings = set()
    for definition in reach(functions, project_root, owner=owner).definitions.values():
        hits = [*_foreign_uses(definition, code), *_local_zones(definition), *_hidden_state(definition, code)]
        hits += _set_orders(definition)
        hits += _suspensions(definition) if definition.value in called else ()
        findings |= {Finding(definition.file, hit.line, definition.name, *hit[1:]) for hit in hits}
    return sorted(findings)


def find_assignments(function: Callable[..., Any], names: Container[str]) -> list[Finding]:
    """Return where a method assigns to fields of its row that declared folds alone may set; sorted by place.

    Args:
        function: A method; its first argument is the row.
        names: The fields that are folds.
    """
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not isinstance(function, types.FunctionType) or (node := node_of(function)) is None:
        return []
    row = function.__code__.co_varnames[0] if function.__code__.co_argcount else None
    findings = [
        Finding(
            function.__code__.co_filename,
            place.lineno,
            f"{function.__module__}.{function.__qualname__}",
            f"assigns to {row}.{name}, which a declared fold computes",
            f"remove it, or declare {name} without a fold",
        )
        for place, name in _assignments(node, row)
        if name in names
    ]
    return sorted(findings)


def _assignments(node: ast.AST, row: str | None) -> Iterator[tuple[ast.expr, str]]:
    """Yield where attributes of a variable are set or deleted, with their names."""
    for part in ast.walk(node):
        match part:
            case ast.Attribute(value=ast.Name(id=variable), attr=name, ctx=ast.Store() | ast.Del()) if variable == row:
                yield part, name
            case ast.Call(
                func=ast.Name(id="setattr" | "delattr"), args=[ast.Name(id=variable), ast.Constant(value=str(name)), *_]
            ) if variable == row:
                yield part, name


def _code(definition: Definition) -> Iterator[ast.AST]:
    return walk_code(definition.node) if definition.node is not None else iter(())


def _suspensions(definition: Definition) -> Iterator[_Hit]:
    value = definition.value
    if isinstance(value, type):
        return
    asynchronous = inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value)
    if asynchronous or inspect.isgeneratorfunction(value):
        yield _Hit(
            value.__code__.co_firstlineno,
            f"is {'asynchronous' if asynchronous else 'a generator'}, so calling it runs nothing",
            "write a plain def: there is nothing to wait for in a fold",
        )


def _foreign_uses(definition: Definition, code: OwnCode) -> Iterator[_Hit]:
    reported: set[ast.AST] = set()
    for node in _code(definition):
        if node in reported or not isinstance(node, ast.Name | ast.Attribute):
            continue
        value = definition.names.resolve(node)
        holder = definition.names.resolve(node.value) if isinstance(node, ast.Attribute) else UNKNOWN
        if code.owns(value) or code.owns(type(value)):
            continue
        if isinstance(holder, types.ModuleType) and code.owns(holder):
            holder = UNKNOWN
        if use := use_of(value, holder, getattr(node, "attr", "")):
            reported.update(ast.walk(node))
            yield _Hit(node.lineno, f"{use.what}: {ast.unparse(node)}", use.remedy, use.severity)


def _local_zones(definition: Definition) -> Iterator[_Hit]:
    what, remedy = "uses the time zone of the machine", "name the zone, for example UTC"
    for node in _code(definition):
        match node:
            case ast.Call(func=ast.Attribute(attr="astimezone"), args=[], keywords=[]):
                yield _Hit(node.lineno, f"{what}: {ast.unparse(node)}", remedy)
            case ast.Call(func=ast.Attribute(value=value, attr="fromtimestamp"), args=[_], keywords=[]):
                if definition.names.resolve(value) is datetime:
                    yield _Hit(node.lineno, f"{what}: {ast.unparse(node)}", remedy)


def _hidden_state(definition: Definition, code: OwnCode) -> Iterator[_Hit]:
    """Yield changes to what lives longer than the row: modules, classes, enclosing functions, mutable defaults."""
    state = _Lasting(definition, code)
    enclosing = () if isinstance(definition.value, type) else definition.value.__code__.co_freevars
    for node in _code(definition):
        match node:
            case ast.Global(names=names):
                yield _Hit(node.lineno, f"assigns to names of the module: {', '.join(names)}", _KEEP_IN_ROW)
            case ast.Nonlocal(names=names) if not set(names).isdisjoint(enclosing):
                yield _Hit(node.lineno, f"assigns to names around it: {', '.join(names)}", _KEEP_IN_ROW)
            case ast.Attribute(value=holder, ctx=ast.Store() | ast.Del()) if state.holds(holder):
                yield _Hit(node.lineno, f"changes what outlives the row: {ast.unparse(node)}", _KEEP_IN_ROW)
            case ast.Subscript(value=holder, ctx=ast.Store() | ast.Del()) if state.holds(holder):
                yield _Hit(node.lineno, f"changes what outlives the row: {ast.unparse(node)}", _KEEP_IN_ROW)
            case ast.Call() if state.changed_by(node):
                yield _Hit(node.lineno, f"changes what outlives the row: {ast.unparse(node)}", _KEEP_IN_ROW)


class _Lasting:
    """Says of expressions in one function whether their objects live longer than the row."""

    def __init__(self, definition: Definition, code: OwnCode) -> None:
        self._names, self._code = definition.names, code
        self._defaults: dict[str, Any] = {}
        if isinstance(value := definition.value, types.FunctionType):
            positional = value.__code__.co_varnames[: value.__code__.co_argcount]
            pairs = zip(reversed(positional), reversed(value.__defaults__ or ()), strict=False)
            self._defaults = {**dict(pairs), **(value.__kwdefaults__ or {})}

    def holds(self, holder: ast.expr) -> bool:
        """Say whether an object reached from `holder` outlives the row."""
        while isinstance(holder, ast.Attribute | ast.Subscript):
            holder = holder.value
        return isinstance(holder, ast.Name) and not isinstance(self._value(holder), Instance | type(UNKNOWN))

    def changed_by(self, call: ast.Call) -> bool:
        """Say whether a call changes an object that outlives the row."""
        match call:
            case ast.Call(func=ast.Attribute(value=target, attr=method)) if self.holds(target):
                return (method in _MUTATORS and self._mutable(target)) or self._changes_itself(target, method)
            case ast.Call(func=ast.Name() as function, args=[target, *_]) if self._value(function) is next:
                return self.holds(target) and isinstance(self._value(target), Iterator)
        return False

    def _value(self, node: ast.expr) -> Any:
        default = self._defaults.get(node.id) if isinstance(node, ast.Name) else None
        return default if isinstance(default, _MUTABLE) else self._names.resolve(node)

    def _mutable(self, target: ast.expr) -> bool:
        if not isinstance(target, ast.Subscript):
            return isinstance(self._value(target), _MUTABLE)
        container = self._value(target.value)
        elements = container.values() if isinstance(container, Mapping) else container
        return isinstance(elements, Iterable) and any(isinstance(element, _MUTABLE) for element in elements)

    def _changes_itself(self, target: ast.expr, method: str) -> bool:
        """Say whether a method of the user's own class sets attributes of its object."""
        kind = type(self._value(target))
        function = inspect.getattr_static(kind, method, None)
        if not isinstance(function, types.FunctionType) or not self._code.owns(kind):
            return False
        node, row = node_of(function), function.__code__.co_varnames[:1]
        return node is not None and any(_assignments(node, *row))


def _set_orders(definition: Definition) -> Iterator[_Hit]:
    """Yield where the order of a set reaches a result: it depends on the hashes of strings, which differ by process."""
    sets = _Sets(definition)
    indifferent: set[ast.AST] = set()
    for node in _code(definition):
        used: Sequence[ast.expr] = ()
        match node:
            case ast.Call(func=ast.Name() as function, args=arguments):
                called = definition.names.resolve(function)
                indifferent.update(arguments if any(called is kind for kind in _INDIFFERENT) else ())
                used = arguments if any(called is kind for kind in _ORDERED) else ()
            case ast.Call(func=ast.Attribute(attr="join"), args=[argument]):
                used = [argument]
            case ast.Call(func=ast.Attribute(value=target, attr="pop"), args=[]):
                used = [target]
            case ast.For(iter=iterable):
                used = [iterable]
            case ast.ListComp(generators=loops) | ast.DictComp(generators=loops) | ast.GeneratorExp(generators=loops):
                used = [loop.iter for loop in loops]
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                used = [element.value for element in elements if isinstance(element, ast.Starred)]
        for expression in () if node in indifferent else filter(sets.hold, used):
            text = ast.unparse(expression)
            yield _Hit(expression.lineno, f"depends on the order of a set: {text}", f"give it an order: sorted({text})")


class _Sets:
    """Says of expressions in one function whether they are sets."""

    def __init__(self, definition: Definition) -> None:
        self._names = definition.names
        self._variables: set[str] = set()
        assigned: dict[str, list[ast.expr | None]] = {}
        for node in _code(definition):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    assigned.setdefault(name, []).append(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=value):
                    assigned.setdefault(name, []).append(value)
                case ast.For(target=ast.Name(id=name)) | ast.NamedExpr(target=ast.Name(id=name)):
                    assigned.setdefault(name, []).append(None)
        for name, values in assigned.items():
            # A variable counts as a set only if it never holds anything else: `codes = sorted(codes)` is fine.
            if all(value is not None and self.hold(value) for value in values):
                self._variables.add(name)

    def hold(self, expression: ast.expr) -> bool:
        """Say whether an expression is a set."""
        match expression:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Name() as function):
                return any(self._names.resolve(function) is kind for kind in (set, frozenset))
            case ast.Call(func=ast.Attribute(value=value, attr=method)):
                return method in _SET_METHODS and self.hold(value)
            case ast.BinOp(left=left, op=operator, right=right):
                return isinstance(operator, _SET_OPERATORS) and (self.hold(left) or self.hold(right))
            case ast.Name(id=name) if name in self._variables:
                return True
        return isinstance(self._names.resolve(expression), set | frozenset)
