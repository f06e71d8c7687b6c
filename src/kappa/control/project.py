"""Import a project's modules and collect its events and views. It judges no view and opens no log."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import msgspec

from kappa.control.bundle_import import project_text
from kappa.errors import KappaError, ProjectError
from kappa.model.events import Event, event_spec
from kappa.model.views import View, view_spec

T = TypeVar("T", bound=type)

_NO_FILES = "write the data into a module: a version runs from a copy of the project's Python files, and of no others"


class Project(msgspec.Struct, frozen=True):
    """The code of a project.

    Attributes:
        events: Event type -> class, sorted by type.
        views: View name -> class, sorted by name.
    """

    events: Mapping[str, type[Event]]
    views: Mapping[str, type[View]]


def load_project(root: Path, modules: Sequence[str]) -> Project:
    """Import modules from the project folder; whatever events and views they define or import belong to the project.

    Raises:
        ProjectError: A module is missing or cannot be imported, or two classes claim one name.
        DefinitionError: An event or a view is declared wrongly.
    """
    return project_of(import_from(root, name) for name in modules)


def project_of(modules: Iterable[ModuleType]) -> Project:
    """Return the events and views that modules define or import.

    Raises:
        ProjectError: Two classes claim one name.
    """
    events: dict[str, type[Event]] = {}
    views: dict[str, type[View]] = {}
    for module in modules:
        for value in vars(module).values():
            if not isinstance(value, type) or value in (Event, View):
                continue
            if issubclass(value, Event):
                _claim(events, event_spec(value).name, value, what="event type")
            elif issubclass(value, View):
                _claim(views, view_spec(value).name, value, what="view")
    return Project(dict(sorted(events.items())), dict(sorted(views.items())))


def import_from(root: Path, module: str) -> ModuleType:
    """Import a module, looking into the project folder first.

    Raises:
        ProjectError: It is missing or cannot be imported.
        DefinitionError: An event or a view in it is declared wrongly.
    """
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    with explained(module, root), _without_bytecode():
        return importlib.import_module(module)


@contextmanager
def explained(module: str, root: Path) -> Iterator[None]:
    """Say of an import what is wrong with the project.

    Args:
        module: The module's name within the project.
        root: The folder that the project's modules lie in.

    Raises:
        ProjectError: It is missing or cannot be imported.
        DefinitionError: An event or a view in it is declared wrongly.
    """
    try:
        yield
    except KappaError:
        raise
    except ModuleNotFoundError as error:
        missing = project_text(error.name or "")
        if missing and (module == missing or module.startswith(f"{missing}.")):
            raise ProjectError(
                f"there is no module '{module}'",
                where=str(root),
                next_step="check [project] modules in kappa.toml; modules are found from the project folder",
            ) from error
        raise ProjectError(
            f"module '{module}' needs '{missing}', which is not installed",
            where=_place(error, root),
            next_step=f"install it into this environment: {sys.executable} -m pip install ...",
        ) from error
    except (Exception, SystemExit) as error:
        text = project_text(error.msg if isinstance(error, SyntaxError) else str(error))
        raise ProjectError(
            f"module '{module}' cannot be imported: {type(error).__name__}: {text}",
            where=_place(error, root),
            next_step=_NO_FILES if isinstance(error, FileNotFoundError) else None,
        ) from error


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Import from source alone.

    Python takes a file that was changed twice within a second, to the same length, for unchanged, and runs the bytecode
    of its former text: a version would run code that it has no fingerprint of.
    """
    before = sys.dont_write_bytecode, sys.pycache_prefix
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull
    try:
        yield
    finally:
        sys.dont_write_bytecode, sys.pycache_prefix = before


def _claim(claimed: dict[str, T], name: str, value: T, *, what: str) -> None:
    first = claimed.setdefault(name, value)
    if first is not value:
        places = " and in ".join(project_text(each.__module__) for each in (first, value))
        raise ProjectError(
            f"{what} '{name}' is defined twice: in {places}",
            next_step="rename one of the classes",
        )


def _place(error: BaseException, root: Path) -> str | None:
    """Return `file:line` of the project's line where an import failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(root)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
