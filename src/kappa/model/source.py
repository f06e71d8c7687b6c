"""One function or class of a user's code: where it is written, and what the names in it stand for.

Source is read through `linecache`, so zipped bundles and notebooks work too. Nothing here raises for code that cannot
be read or a name that cannot be resolved: a definition without source, as typed into a REPL, has no node, and a name
whose value is known only at run time stands for `UNKNOWN`. No user code is called, but an import inside a function is
made. An approximation: a name that is local anywhere in a function, or in one nested in it, is local throughout.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib.util
import inspect
import linecache
import os
import sys
import types
import typing
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Node = FunctionNode | ast.ClassDef

_KAPPA = Path(os.path.realpath(__file__)).parents[1]


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True, slots=True)
class Instance:
    """Some instance of one of these classes: what is known about an argument."""

    classes: tuple[type, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """What the names in one definition stand for.

    Attributes:
        module: The names of its module.
        known: Names that hide those: of the enclosing function, typed arguments, imports inside the function.
        local: Names whose values exist only while the function runs.
    """

    module: Mapping[str, Any]
    known: Mapping[str, Any] = field(default_factory=dict)
    local: frozenset[str] = frozenset()

    def resolve(self, node: ast.AST) -> Any:
        """Return the object an expression stands for: a name, or attributes of one; else `UNKNOWN`."""
        match node:
            case ast.Name(id=name):
                return self._lookup(name)
            case ast.Attribute(value=value, attr=name):
                return attribute_of(self.resolve(value), name)
            case ast.Call(func=ast.Name(id="super"), args=[]):
                return self.known.get("super()", UNKNOWN)
            case ast.Call(func=ast.Name(id="type"), args=[value]):
                return attribute_of(self.resolve(value), "__class__")
        return UNKNOWN

    def _lookup(self, name: str) -> Any:
        if name in self.known:
            return self.known[name]
        if name in self.local:
            return UNKNOWN
        return self.module.get(name, getattr(builtins, name, UNKNOWN))


def attribute_of(value: Any, name: str) -> Any:
    """Return an attribute as it can be found without running a property; `UNKNOWN` if it cannot."""
    if isinstance(value, Instance):
        if name == "__class__":
            return value.classes[0]
        found = (inspect.getattr_static(cls, _mangled(name, cls), UNKNOWN) for cls in value.classes)
        return next((attribute for attribute in found if attribute is not UNKNOWN), UNKNOWN)
    try:
        if isinstance(value, types.ModuleType | type | super):
            return getattr(value, name)
        return UNKNOWN if value is UNKNOWN else inspect.getattr_static(value, name, UNKNOWN)
    except Exception:  # noqa: BLE001 - a module's or metaclass's own __getattr__ may raise anything
        return UNKNOWN


def _mangled(name: str, cls: type) -> str:
    """Return the name that a private attribute, `__name`, has in a class or the base that defines it."""
    if not name.startswith("__") or name.endswith("__"):
        return name
    mangled = [f"_{base.__name__.lstrip('_')}{name}" for base in cls.__mro__]
    return next((candidate for candidate in mangled if hasattr(cls, candidate)), name)


def walk_code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a function is called, or a class is made: no annotations, own decorators or methods."""
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("decorator_list", "returns", "type_params"):
            for child in value if isinstance(value, list) else [value]:
                if not (isinstance(node, ast.ClassDef) and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
                    yield from _walk_all(child)


def _walk_all(node: Any) -> Iterator[ast.AST]:
    if not isinstance(node, ast.AST):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "type_params"):
            for child in value if isinstance(value, list) else [value]:
                yield from _walk_all(child)


def file_of(value: Any) -> str | None:
    """Return the file that a function, class or module was loaded from, or None."""
    if isinstance(value, types.FunctionType):
        return value.__code__.co_filename
    if isinstance(value, types.ModuleType):
        return getattr(value, "__file__", None)
    return globals_of(value).get("__file__")


def globals_of(value: types.FunctionType | type) -> dict[str, Any]:
    """Return the names of the module that defines a function or class; empty if that module is not to be found."""
    if isinstance(value, types.FunctionType):
        return value.__globals__
    if (module := sys.modules.get(value.__module__)) is not None:
        return vars(module)
    methods = (method for method in vars(value).values() if isinstance(method, types.FunctionType))
    return next((method.__globals__ for method in methods), {})


def node_of(value: types.FunctionType | type) -> Node | None:
    """Return the syntax of a function or class, or None where its source cannot be found."""
    file = file_of(value)
    if file is None:
        return None
    index = _index(_text(file, globals_of(value)))
    if isinstance(value, type):
        return index.classes.get(value.__qualname__)
    code = value.__code__
    candidates = index.functions.get((code.co_name, code.co_firstlineno), [])
    if len(candidates) > 1:
        # Several lambdas on one line: the one whose body is where the code's instructions are.
        places = set(code.co_positions())
        candidates = [node for node in candidates if isinstance(node, ast.Lambda) and _place(node.body) in places]
    return candidates[0] if len(candidates) == 1 else None


def names_of(value: types.FunctionType | type, owner: type | None, node: Node | None) -> Names:
    """Return what the names in a function or class stand for; `owner` is the class that a method was found on."""
    if isinstance(value, type):
        return Names(globals_of(value), local=frozenset(vars(value)))
    closure = _closure(value)
    known = {**closure, **_typed_arguments(value, closure)}
    if owner is not None and (receiver := _receiver(value, owner)) is not None:
        known |= receiver
    if "__class__" in closure and owner is not None and issubclass(owner, closure["__class__"]):
        known["super()"] = super(closure["__class__"], owner)
    if node is not None:
        known |= _imports(node, value.__globals__)
    return Names(value.__globals__, known, frozenset(_locals(value.__code__)))


class OwnCode:
    """Tells the user's own code, in files below a project's root, from installed packages and Kappa.

    It names modules by their path within the project, so the names are the same wherever and under whatever name a
    project is imported.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._inside_kappa = self.root.is_relative_to(_KAPPA)
        self._modules: dict[str, str | None] = {}  # every name that is looked at asks; a file is looked up once

    def module_name(self, file: str | None) -> str | None:
        """Return the name of the module in a file, or None if the file is not the user's own."""
        if file is None:
            return None
        if file not in self._modules:
            self._modules[file] = self._module_name(Path(os.path.realpath(file)))
        return self._modules[file]

    def _module_name(self, path: Path) -> str | None:
        if not path.is_relative_to(self.root) or (path.is_relative_to(_KAPPA) and not self._inside_kappa):
            return None
        parts = path.relative_to(self.root).with_suffix("").parts
        if "site-packages" in parts or "dist-packages" in parts:
            return None
        return ".".join(parts[:-1] if parts[-1:] == ("__init__",) and len(parts) > 1 else parts)

    def owns(self, value: Any) -> bool:
        """Say whether a function, class or module is the user's own; no other value is."""
        known = isinstance(value, types.FunctionType | type | types.ModuleType)
        return known and self.module_name(file_of(value)) is not None

    def module_of(self, value: types.FunctionType | type) -> str:
        """Return the name of the module that a function or class is defined in."""
        return self.module_name(file_of(value)) or value.__module__

    def name_of(self, value: types.FunctionType | type | types.ModuleType) -> str:
        """Return the qualified name of a function or class, or the name of a module."""
        if isinstance(value, types.ModuleType):
            return self.module_name(file_of(value)) or value.__name__
        return f"{self.module_of(value)}.{value.__qualname__}"


def hints_of(value: types.FunctionType | type, closure: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the annotations of a function, or of a class and its bases, leaving out those that cannot be resolved."""
    hints: dict[str, Any] = {}
    for place in reversed(value.__mro__) if isinstance(value, type) else [value]:
        for name, annotation in inspect.get_annotations(place).items():
            single = types.SimpleNamespace(__annotations__={name: annotation})
            with contextlib.suppress(Exception):  # evaluating an annotation may raise anything
                hints |= typing.get_type_hints(single, globals_of(place), dict(closure or {}))
    return hints


def classes_in(hint: Any) -> Iterator[type]:
    """Yield the classes that a type hint mentions.

    >>> list(classes_in(dict[str, int | None]))
    [<class 'str'>, <class 'int'>, <class 'NoneType'>]
    """
    if arguments := typing.get_args(hint):
        for argument in arguments:
            yield from classes_in(argument)
    elif isinstance(hint, type):
        yield hint


def _closure(function: types.FunctionType) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            known[name] = cell.cell_contents
        except ValueError:  # the enclosing function has not assigned it yet
            known[name] = UNKNOWN
    return known


def _typed_arguments(function: types.FunctionType, closure: Mapping[str, Any]) -> dict[str, Instance]:
    known = {}
    for name, hint in hints_of(function, closure).items():
        union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        classes = tuple(cls for cls in (typing.get_args(hint) if union else (hint,)) if isinstance(cls, type))
        if name != "return" and classes and not typing.get_args(classes[0]):
            known[name] = Instance(classes)
    return known


def _receiver(function: types.FunctionType, owner: type) -> dict[str, Any] | None:
    """Return the first argument of a method, by name."""
    if function.__code__.co_argcount == 0:
        return None
    kind = inspect.getattr_static(owner, function.__name__, None)
    if isinstance(kind, staticmethod):
        return None
    first = function.__code__.co_varnames[0]
    return {first: owner if isinstance(kind, classmethod) else Instance((owner,))}


def _imports(node: ast.AST, module: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the imports inside a function bind."""
    known = {}
    for statement in ast.walk(node):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                whole, top = _module(alias.name, module), alias.name.partition(".")[0]
                known[alias.asname or top] = whole if alias.asname else _module(top, module)
        elif isinstance(statement, ast.ImportFrom):
            package = "." * statement.level + (statement.module or "")
            for alias in statement.names:
                found = attribute_of(_module(package, module), alias.name)
                inner = f"{package}{'' if package.endswith('.') else '.'}{alias.name}"
                known[alias.asname or alias.name] = _module(inner, module) if found is UNKNOWN else found
    return known


def _module(name: str, importer: Mapping[str, Any]) -> Any:
    """Import as the code of a module itself would: it may have an `__import__` of its own."""
    names = importer.get("__builtins__", builtins)
    import_ = names["__import__"] if isinstance(names, dict) else names.__import__
    try:
        absolute = importlib.util.resolve_name(name, importer.get("__package__") or "")
        return import_(absolute, importer, None, ("__name__",), 0)  # of `a.b`, Python gives b only if asked for names
    except Exception:  # noqa: BLE001 - importing runs a module, which may raise anything
        return UNKNOWN


def _locals(code: types.CodeType) -> Iterator[str]:
    yield from code.co_varnames
    yield from code.co_cellvars
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _locals(constant)


@dataclass(frozen=True, slots=True)
class _Index:
    """Where the functions and classes of one file are: by name and first line, and by qualified name."""

    functions: dict[tuple[str, int], list[FunctionNode]] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)

    def add(self, node: ast.AST, prefix: str) -> None:
        inner = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
            decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
            first_line = min(part.lineno for part in (node, *decorators))
            self.functions.setdefault((name, first_line), []).append(node)
            inner = f"{prefix}{name}.<locals>."
        elif isinstance(node, ast.ClassDef):
            self.classes[prefix + node.name] = node
            inner = f"{prefix}{node.name}."
        for child in ast.iter_child_nodes(node):
            self.add(child, inner)


def _text(file: str, module: dict[str, Any] | None) -> str:
    linecache.checkcache(file)
    return "".join(linecache.getlines(file, module))


# A project has tens of modules; parsing a large one takes 50 ms, and each of its functions asks for it.
@lru_cache(maxsize=64)
def _index(text: str) -> _Index:
    index = _Index()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the user's code, said already when it was imported
        try:
            index.add(ast.parse(text), "")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return _Index()
    return index


def _place(node: ast.expr) -> tuple[int, int | None, int, int | None]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset
