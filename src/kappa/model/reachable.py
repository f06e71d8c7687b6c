"""Find the code that given functions can run: every function and class of the user's own that they name, and so on.

It answers what a changed helper changes, and where a view might read a clock; so it may say too much, but it leaves out
nothing that a name leads to: globals, closures, attributes, defaults, decorators, elements of containers, methods of
`self` and of annotated arguments, the types of their fields. Names made of text, as in `getattr(self, name)`, and what
foreign calls return are not followed. Naming a class brings all that its instances can do; its class and static methods
count only where they are named, since `OrderPlaced.from_form()` may use a clock, and no fold calls it.
"""

from __future__ import annotations

import ast
import functools
import itertools
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappa.model.source import (
    UNKNOWN,
    Instance,
    Names,
    Node,
    OwnCode,
    attribute_of,
    classes_in,
    file_of,
    hints_of,
    names_of,
    node_of,
    walk_code,
)

# What leads nowhere. Tables of a million of these are looked through at every plan.
_DATA = frozenset({str, bytes, int, float, type(None)})


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A function or a class of the user's own code. A class's methods are definitions of their own.

    Attributes:
        name: Module and qualified name, for example `shop.UserProfile.profile_updated`.
        value: The function or class.
        owner: The class that a method was found on, or None.
        file: As Python names it.
        node: The syntax; None without source.
        names: What the names in it stand for.
    """

    name: str
    value: types.FunctionType | type
    owner: type | None
    file: str
    node: Node | None
    names: Names


@dataclass(frozen=True, slots=True)
class Reach:
    """What functions can run and read.

    Attributes:
        definitions: By name, in the order in which they were found; the functions asked about come first.
        constants: Values that they read from modules, classes, enclosing functions and defaults, by name. Values of any
            type, mutable ones too: a table that nobody writes is as good as a constant.
    """

    definitions: Mapping[str, Definition]
    constants: Mapping[str, Any]


def reach(functions: Iterable[Callable[..., Any]], project_root: Path, *, owner: type | None = None) -> Reach:
    """Return all that functions can run of the user's own code, themselves included.

    Call it when the project's modules are imported: a helper that is defined further down does not exist before.

    Args:
        functions: Handlers, upcasters, methods; plain, bound or decorated. They count as own code wherever they are.
        project_root: Code in files below it is the user's own, apart from installed packages and Kappa.
        owner: The class that they are methods of, so that `self.other()` is followed.
    """
    walk = _Walk(OwnCode(project_root))
    for function in functions:
        walk.follow(function, owner, root=True)
    walk.run()
    return Reach(walk.definitions, walk.constants)


class _Walk:
    """One search: what was found, and a queue of definitions still to read."""

    def __init__(self, code: OwnCode) -> None:
        self.code = code
        self.definitions: dict[str, Definition] = {}
        self.constants: dict[str, Any] = {}
        self._queue: deque[Definition] = deque()
        self._followed: dict[tuple[int, int], Any] = {}  # keeps the values, so that no id is used twice

    def follow(self, value: Any, owner: type | None = None, *, root: bool = False) -> None:
        """Take up the definitions that a value is made of; `owner` is the class that it was found on."""
        parts = [(value, owner)]
        while parts:
            part, found_on = parts.pop()
            if type(part) in _DATA:
                continue
            seen = (id(part), id(found_on))
            if seen in self._followed:
                continue
            self._followed[seen] = part
            # A root that is wrapped by a foreign decorator is not that decorator's code, but what it wraps.
            asked_for = root and isinstance(part, types.FunctionType) and "__wrapped__" not in vars(part)
            if asked_for or (isinstance(part, types.FunctionType | type) and self.code.owns(part)):
                self._define(part, found_on)
            elif self.code.owns(type(part)):
                parts += [(type(part), None), *((state, None) for state in getattr(part, "__dict__", {}).values())]
            parts += reversed(list(_parts(part, found_on)))

    def run(self) -> None:
        """Read definitions until there is nothing new."""
        while self._queue:
            definition = self._queue.popleft()
            value, node = definition.value, definition.node
            if isinstance(value, type):
                self._read_class(value)
            else:
                self._read_signature(definition, value)
            if node is None:
                continue
            for part in itertools.chain(self._own_decorators(definition), walk_code(node)):
                if isinstance(part, ast.Name):
                    self._read_name(definition, part)
                elif isinstance(part, ast.Attribute):
                    self._read_attribute(definition, part)

    def _define(self, value: types.FunctionType | type, owner: type | None) -> None:
        node = node_of(value)
        name = plain = self.code.name_of(value)
        numbers = itertools.count(2)
        while name in self.definitions and self.definitions[name].value is not value:
            name = f"{plain}#{next(numbers)}"
        found = Definition(name, value, owner, file_of(value) or "", node, names_of(value, owner, node))
        self.definitions.setdefault(name, found)
        self._queue.append(found)

    def _read_class(self, cls: type) -> None:
        for attribute in vars(cls).values():
            if isinstance(attribute, types.FunctionType | property | functools.cached_property):
                self.follow(attribute, cls)

    def _read_signature(self, definition: Definition, function: types.FunctionType) -> None:
        positional = function.__code__.co_varnames[: function.__code__.co_argcount]
        values = function.__defaults__ or ()
        defaults = dict(zip(positional[len(positional) - len(values) :], values, strict=True))
        for name, value in (defaults | (function.__kwdefaults__ or {})).items():
            self.follow(value)
            self._note(f"{definition.name}.{name}", value)
        for name, hint in hints_of(function, definition.names.known).items():
            # An argument that is one of a few classes is followed use by use; of a list of rows, the whole class is.
            if name != "return" and not isinstance(definition.names.known.get(name), Instance):
                for cls in classes_in(hint):
                    self.follow(cls)

    def _own_decorators(self, definition: Definition) -> Iterator[ast.AST]:
        """Yield the syntax of the user's own decorators; those of others, such as `@on(Event)`, run nothing later."""
        for decorator in getattr(definition.node, "decorator_list", []):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.code.owns(definition.names.resolve(called)):
                yield from ast.walk(decorator)

    def _read_name(self, definition: Definition, node: ast.Name) -> None:
        names, value = definition.names, definition.names.resolve(node)
        if node.id in names.known:
            self._note(f"{definition.name}.{node.id}", value)
        elif node.id in names.module and node.id not in names.local:
            self._note(f"{self.code.module_of(definition.value)}.{node.id}", value)
        self.follow(value)

    def _read_attribute(self, definition: Definition, node: ast.Attribute) -> None:
        base = definition.names.resolve(node.value)
        if isinstance(base, Instance):
            for cls in base.classes:
                self._read_member(cls, attribute_of(Instance((cls,)), node.attr), node.attr)
                for hinted in classes_in(hints_of(cls).get(node.attr)) if self.code.owns(cls) else ():
                    self.follow(hinted)
        elif isinstance(base, super):
            self.follow(attribute_of(base, node.attr), definition.owner)
        else:
            self._read_member(base, attribute_of(base, node.attr), node.attr)

    def _read_member(self, holder: Any, value: Any, name: str) -> None:
        if self.code.owns(holder):
            self._note(f"{self.code.name_of(holder)}.{name}", value)
        self.follow(value, holder if isinstance(holder, type) else None)

    def _note(self, name: str, value: Any) -> None:
        """Keep a value that is data: neither code, nor a field's descriptor, nor what the import system sets."""
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType | type | Instance | super):
            return
        if value is UNKNOWN or hasattr(type(value), "__get__") or name.endswith("__"):
            return
        self.constants[name] = value


def _parts(value: Any, owner: type | None) -> Iterator[tuple[Any, type | None]]:
    """Yield what a value refers to that may be code, with the class that it belongs to."""
    match value:
        case types.MethodType():
            yield value.__func__, value.__self__ if isinstance(value.__self__, type) else type(value.__self__)
        case staticmethod() | classmethod():
            yield value.__func__, owner
        case property():
            yield from ((accessor, owner) for accessor in (value.fget, value.fset, value.fdel) if accessor is not None)
        case functools.cached_property():
            yield value.func, owner
        case functools.partial():
            yield value.func, owner
            yield from ((argument, None) for argument in (*value.args, *value.keywords.values()))
        case dict() | types.MappingProxyType():
            yield from ((element, None) for element in value.values())
        case list() | tuple() | set() | frozenset():
            yield from ((element, None) for element in value)
        case _ if not isinstance(value, type):
            # What functools.wraps, lru_cache and singledispatch leave on the functions they return.
            left = getattr(value, "__dict__", {})
            yield from ((left[name], owner) for name in ("__wrapped__", "registry") if name in left)
