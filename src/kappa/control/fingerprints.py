"""Fingerprint a view: its declaration, its events, and all the code that folds them. Equal means equal rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kappa.control.bundle_import import project_text
from kappa.control.packages import packages_used
from kappa.control.project import Project
from kappa.model.events import Event, event_methods, event_spec
from kappa.model.fingerprint import code_digests, combine
from kappa.model.views import STATE_FORMAT, View, view_spec


def fingerprints(project: Project, root: Path) -> dict[str, str]:
    """Return view name -> fingerprint for all views of a project."""
    return {name: combine(fingerprint_parts(view, root)) for name, view in project.views.items()}


def fingerprint_parts(view: type[View], root: Path) -> dict[str, str]:
    """Return what a view's rows depend on, part by part, so that comparing two says what has changed.

    Args:
        view: The view.
        root: The project folder: code outside it belongs to installed packages.
    """
    spec = view_spec(view)
    parts = {
        "state format": str(STATE_FORMAT),
        "key": repr(spec.key),
        "dedupe": str(spec.dedupe_us),
        **{f"field {name}": text for name, text in _fields(view)},
        **{f"fold {name}": str(fold) for name, fold in spec.folds.items()},
    }
    parts |= _code_parts([handler.function for handler in spec.handlers.values()], root, owner=view)
    for event in spec.events:
        parts |= _event_parts(event, root)
    return parts


def _code_parts(functions: Sequence[Callable[..., Any]], root: Path, *, owner: type) -> dict[str, str]:
    """Return the digests of the project's own code, and the versions of the packages that it uses."""
    return {
        **{f"code {name}": digest for name, digest in code_digests(functions, root, owner=owner).items()},
        **{f"package {name}": version for name, version in packages_used(functions, root, owner=owner).items()},
    }


def _fields(view: type[View]) -> Iterator[tuple[str, str]]:
    spec = view_spec(view)
    row = view()
    for name, hint in spec.hints.items():
        # The module may be renamed, and a bundle's is imported under a name of its own.
        kind = re.sub(rf"\b{re.escape(project_text(view.__module__))}\.", "", project_text(repr(hint)))
        yield name, f"{kind} = {msgspec.json.encode(getattr(row, name)).decode()}, {_schema(hint)}"


def _schema(hint: Any) -> str:
    """Return what values of a type look like: the members of an enumeration, the fields of a struct."""
    return msgspec.json.encode(_without_prose(msgspec.json.schema(hint)), order="deterministic").decode()


def _event_parts(event: type[Event], root: Path) -> dict[str, str]:
    spec = event_spec(event)
    # The schema does not show defaults that are copied for each event: lists, structs and the like.
    fields = (field for field in msgspec.structs.fields(event) if field.default_factory is not msgspec.NODEFAULT)
    defaults = msgspec.json.encode({field.name: field.default_factory() for field in fields}).decode()
    return {
        f"event {spec.name}": f"version {spec.version}: {_schema(event)}, {defaults}",
        **_code_parts([*spec.upcasters.values(), *event_methods(event)], root, owner=event),
    }


def _without_prose(schema: Any) -> Any:
    """Return a JSON schema without descriptions, which are docstrings, and with the project's names of modules."""
    match schema:
        case dict():
            return {
                project_text(name): _without_prose(value) for name, value in schema.items() if name != "description"
            }
        case list():
            return [_without_prose(value) for value in schema]
        case str():
            return project_text(schema)
        case _:
            return schema
