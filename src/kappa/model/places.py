"""Say where in the user's code something is declared, for error messages. Nothing else."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_MODEL = __file__.removesuffix("places.py")


def calling_frame() -> FrameType | None:
    """Return the nearest frame outside this package's model: the user's line that declares an event, view or fold."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to find a caller's line
    while frame is not None and frame.f_code.co_filename.startswith(_MODEL):
        frame = frame.f_back
    return frame


def place_of_frame(frame: FrameType | None) -> str | None:
    """Return `file:line` of a frame."""
    return None if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def place_of_field(frame: FrameType | None, field: str) -> str | None:
    """Return `file:line` of a field in the class body that a frame is defining, or of the class if that is unknown."""
    if frame is None:
        return None
    file, line = frame.f_code.co_filename, frame.f_lineno
    try:
        tree = ast.parse("".join(linecache.getlines(file, frame.f_globals)))
    except (SyntaxError, ValueError):
        return f"{file}:{line}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and line in (node.lineno, *(inner.lineno for inner in node.decorator_list)):
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == field:
                    return f"{file}:{statement.lineno}"
    return f"{file}:{line}"


def place_of_function(function: Callable[..., Any]) -> str | None:
    """Return `file:line` of a function's first line, or None for something without code."""
    code = getattr(function, "__code__", None)
    return None if code is None else f"{code.co_filename}:{code.co_firstlineno}"
