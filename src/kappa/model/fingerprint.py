"""Fingerprints of code: equal when the code does the same thing for sure, different when it might not.

A fingerprint covers the functions asked about, all of the user's code that they can run, and the values that they read.
It does not change with comments, docstrings, layout, line numbers, the process, the machine, the name under which a
project is imported, or the version of Python. Installed packages are not covered: their lock is a part of its own.
"""

from __future__ import annotations

import ast
import enum
import functools
import hashlib
import json
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from kappa.model.reachable import Definition, reach
from kappa.model.source import OwnCode

_DIGEST_BYTES = 16
# What `repr` says of these is complete, and the same everywhere.
_PLAIN: frozenset[type] = frozenset(
    {type(None), type(...), bool, int, float, complex, str, bytes, range, Decimal, Fraction, UUID}
    | {date, datetime, time, timedelta, timezone, ZoneInfo}
)
# Fields of syntax that say nothing about what code does, or that only some versions of Python have.
_SILENT_FIELDS = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}


def code_fingerprint(functions: Iterable[Callable[..., Any]], project_root: Path, *, owner: type | None = None) -> str:
    """Return the fingerprint of what functions do. Arguments as in `reach`."""
    return combine(code_digests(functions, project_root, owner=owner))


def code_digests(
    functions: Iterable[Callable[..., Any]], project_root: Path, *, owner: type | None = None
) -> dict[str, str]:
    """Return the digest of each function, class and value that functions run or read, by qualified name.

    Comparing two of these names the helper or the constant that has changed. Arguments as in `reach`.
    """
    found = reach(functions, project_root, owner=owner)
    code = OwnCode(project_root)
    digests = {name: _digest(_definition(definition, code)) for name, definition in found.definitions.items()}
    return digests | {name: _digest(_value(value, code)) for name, value in found.constants.items()}


def combine(parts: Mapping[str, str]) -> str:
    """Return one digest, 32 hexadecimal digits, of named parts in any order.

    >>> combine({"shop.rate": "1f", "shop.TAX": "2e"}) == combine({"shop.TAX": "2e", "shop.rate": "1f"})
    True
    """
    return _digest(sorted(parts.items()))


def _digest(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _definition(definition: Definition, code: OwnCode) -> Any:
    if definition.node is not None:
        return _syntax(definition.node)
    if isinstance(definition.value, types.FunctionType):
        return _instructions(definition.value.__code__, code)
    return _value(getattr(definition.value, "_fields", None), code)  # a named tuple made by a call


def _syntax(node: Any) -> Any:
    """Return syntax as nested lists. Unlike the text of `ast.unparse`, they are the same in every version of Python."""
    if isinstance(node, list):
        return [_syntax(child) for child in node]
    if not isinstance(node, ast.AST):
        return [type(node).__name__, repr(node)]
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = _body(node)
    said = {name: value for name, value in fields.items() if name not in _SILENT_FIELDS and value not in (None, [])}
    return [type(node).__name__, {name: _syntax(value) for name, value in said.items()}]


def _body(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """Return what a body does: no docstring, no `pass`; in a class no methods, which have digests of their own."""
    skipped: tuple[type[ast.stmt], ...] = (ast.Pass,)
    if isinstance(node, ast.ClassDef):
        skipped += (ast.FunctionDef, ast.AsyncFunctionDef)
    body = node.body if ast.get_docstring(node, clean=False) is None else node.body[1:]
    return [statement for statement in body if not isinstance(statement, skipped)]


def _instructions(code_object: types.CodeType, code: OwnCode) -> Any:
    """Return what there is of a function without source; the same only within one version of Python."""
    constants = [
        _instructions(constant, code) if isinstance(constant, types.CodeType) else _value(constant, code)
        for constant in code_object.co_consts
    ]
    return [code_object.co_code.hex(), code_object.co_names, code_object.co_varnames, constants]


def _value(value: Any, code: OwnCode, around: tuple[Any, ...] = ()) -> Any:
    """Return a value as nested lists: data whole; of anything else, such as a logger or a data frame, its type."""
    kind = code.name_of(type(value))
    if type(value) in _PLAIN:
        return [kind, repr(value)]
    if isinstance(value, type | types.FunctionType | types.ModuleType):
        return [kind, code.name_of(value)]
    if isinstance(value, types.BuiltinFunctionType):
        return [kind, value.__qualname__]
    if any(value is outer for outer in around):
        return [kind, "..."]
    parts = [_value(part, code, (*around, value)) for part in _parts(value, code)]
    # Elements of a set come in another order in every process.
    return [kind, sorted(parts, key=json.dumps) if isinstance(value, set | frozenset) else parts]


def _parts(value: Any, code: OwnCode) -> Iterator[Any]:
    """Yield what tells a value from others of its type, or nothing for a type that we know nothing about."""
    match value:
        case enum.Enum():
            yield from (value.name, value.value)
        case re.Pattern():
            yield from (value.pattern, int(value.flags))
        case list() | tuple() | set() | frozenset():
            yield from value
        case dict() | types.MappingProxyType():
            yield from value.items()
        case functools.partial():
            yield from (value.func, value.args, value.keywords)
        case msgspec.Struct():
            yield from msgspec.structs.asdict(value).items()
        case _ if code.owns(type(value)):
            yield from getattr(value, "__dict__", {}).items()
