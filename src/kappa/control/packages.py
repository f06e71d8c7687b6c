"""Say which installed packages a project's code uses, in which versions: what a bundle does not hold.

Only what is named where events are folded counts: a package that is imported for something else, such as reading input,
has no part in a view's rows. Python's own library counts with Python, Kappa's requirements count with Kappa.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kappa.model.reachable import Definition, reach
from kappa.model.source import UNKNOWN, Instance, OwnCode, walk_code

_NOT_COUNTED = frozenset(sys.stdlib_module_names) | {"kappa", "msgspec"}


def packages_used(functions: Iterable[Callable[..., Any]], root: Path, *, owner: type | None = None) -> dict[str, str]:
    """Return distribution -> version of what functions use that is not in the project. Arguments as in `reach`."""
    code = OwnCode(root)
    definitions = reach(functions, root, owner=owner).definitions.values()
    modules = {module for definition in definitions for module in _foreign_modules(definition, code)}
    tops = {module.partition(".")[0] for module in modules} - _NOT_COUNTED
    names = {name for top in tops for name in _distributions().get(top, ())}
    return {name: importlib.metadata.version(name) for name in sorted(names)}


def _foreign_modules(definition: Definition, code: OwnCode) -> Iterator[str]:
    if definition.node is None:
        return
    for part in walk_code(definition.node):
        if isinstance(part, ast.Name | ast.Attribute):
            yield from _modules_of(definition.names.resolve(part), code)


def _modules_of(value: Any, code: OwnCode) -> Iterator[str]:
    if value is UNKNOWN or code.owns(value) or code.owns(type(value)):
        return
    if isinstance(value, Instance):
        yield from (cls.__module__ for cls in value.classes if not code.owns(cls))
    elif isinstance(value, types.ModuleType):
        yield value.__name__
    elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        yield value.__module__ or "builtins"
    else:
        yield type(value).__module__


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Return top-level module -> distributions. It reads a file per installed package, so it is read once."""
    return importlib.metadata.packages_distributions()
