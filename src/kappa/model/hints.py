"""Resolve the type hints of a class while it is being defined, so that mistakes are reported at its definition."""

from __future__ import annotations

import sys
import typing
from collections.abc import Mapping
from types import FrameType
from typing import Any

from kappa.errors import DefinitionError
from kappa.model.places import place_of_field


def resolve_hints(namespace: Mapping[str, Any], frame: FrameType | None, *, what: str) -> dict[str, Any]:
    """Return name -> type hint of a class body, class variables left out.

    Names are looked up where the class is defined: its module, then the function around it.

    Raises:
        DefinitionError: A hint names something that does not exist there.
    """
    hints: dict[str, Any] = {}
    for name, hint in namespace.get("__annotations__", {}).items():
        resolved = _resolve(hint, name, namespace, frame, what=what)
        if typing.get_origin(resolved) is not typing.ClassVar and resolved is not typing.ClassVar:
            hints[name] = resolved
    return hints


def _resolve(hint: Any, name: str, namespace: Mapping[str, Any], frame: FrameType | None, *, what: str) -> Any:
    if not isinstance(hint, str):
        return hint
    module = sys.modules.get(namespace["__module__"])
    module_names = {} if module is None else vars(module)
    local_names = frame.f_locals if frame is not None else {}
    global_names = frame.f_globals if frame is not None else {}
    try:
        return eval(hint, {**module_names, **global_names}, dict(local_names))  # noqa: S307 - the user's own annotation
    except Exception as error:
        raise DefinitionError(
            f"{what}: the type of '{name}' is {hint!r}, which cannot be resolved here: {error}",
            next_step="import the name at the top of the module, outside TYPE_CHECKING; define it before using it",
            where=place_of_field(frame, name),
        ) from error
