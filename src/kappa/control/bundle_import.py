"""Import a bundle's modules under a name of their own, so that two bundles never meet in one interpreter.

The modules of a bundle become submodules of `kappa_bundle_HASH`: `shop` is `kappa_bundle_1f3a5b7c9d0e.shop`.
Imports between them still say `import shop`, and are led there. The hash is of the bundle's folder, which has the name
of its content. What runs is the text that was given, whatever lies in that folder. It knows nothing of versions, nor of
how bundles are kept.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

_PREFIX, _HASH_BYTES = "kappa_bundle_", 6
_OWN_NAME = re.compile(rf"\b{_PREFIX}[0-9a-f]{{{2 * _HASH_BYTES}}}\.")


def project_text(text: str) -> str:
    """Return a text in which modules have the names that they have in the project.

    >>> project_text("<class 'kappa_bundle_0123456789ab.shop.Kind'>")
    "<class 'shop.Kind'>"
    """
    return _OWN_NAME.sub("", text)


def import_bundled(folder: Path, files: Mapping[str, bytes], module: str) -> ModuleType:
    """Import a module of a bundle, or an installed one if the bundle has none of that name.

    Args:
        folder: Where the files are for people and tracebacks to look at. Another content needs another folder.
        files: Path within the bundle, with `/` -> content.
        module: Its name within the project.

    Raises:
        Exception: Whatever importing it raises.
    """
    package = _PREFIX + hashlib.blake2b(str(folder).encode(), digest_size=_HASH_BYTES).hexdigest()
    known = (finder for finder in sys.meta_path if isinstance(finder, _BundleImporter) and finder.package == package)
    importer = next(known, None)
    if importer is None:
        importer = _BundleImporter(package, folder, files)
        # In front, so that nothing on sys.path can have the name.
        sys.meta_path.insert(0, importer)
    return importlib.import_module(f"{package}.{module}" if importer.owns(module) else module)


class _BundleImporter(MetaPathFinder, ExecutionLoader):
    """Finds and loads the modules of one bundle. An `ExecutionLoader` compiles sources, and knows no bytecode."""

    def __init__(self, package: str, folder: Path, files: Mapping[str, bytes]) -> None:
        self.package = package
        self._folder, self._files = folder, files
        self._packages = {str(parent) for path in files for parent in PurePosixPath(path).parents}
        tops = {PurePosixPath(path).parts[0].removesuffix(".py") for path in files} - {"kappa"}
        # Like Python's, a folder without __init__.py gives way to whatever is installed under its name.
        self._tops = {top for top in tops if {f"{top}.py", f"{top}/__init__.py"} & files.keys() or not _installed(top)}
        self._builtins = {**vars(builtins), "__import__": self._import}

    def owns(self, module: str) -> bool:
        """Say whether a module that is called so in the project comes from the bundle."""
        return module.partition(".")[0] in self._tops

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if not f"{fullname}.".startswith(f"{self.package}."):
            return None
        place = "/".join(fullname.split(".")[1:]) or "."
        if (file := self._file_of(place)) is not None:
            inside = [str(self._folder / place)] if file.endswith("__init__.py") else None
            location = self._folder / file
            return importlib.util.spec_from_file_location(
                fullname, location, loader=self, submodule_search_locations=inside
            )
        if place not in self._packages:
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [str(self._folder / place)]
        return spec

    def get_filename(self, fullname: str) -> str:
        return str(self._folder / self._file(fullname))

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._files[self._file(fullname)])

    def exec_module(self, module: ModuleType) -> None:
        # Python looks for __import__ among the built-in names of the code that imports, whenever that runs.
        vars(module)["__builtins__"] = self._builtins
        super().exec_module(module)

    def _file(self, fullname: str) -> str:
        file = self._file_of("/".join(fullname.split(".")[1:]))
        if file is None:
            raise ImportError(f"{fullname} has no source", name=fullname)
        return file

    def _file_of(self, place: str) -> str | None:
        return next((file for file in (f"{place}/__init__.py", f"{place}.py") if file in self._files), None)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - named as Python's own
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - named as Python's own
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as `__import__` does, the bundle's own modules from the bundle."""
        if level or not self.owns(name):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist or (), 0)
        return module if fromlist else sys.modules[f"{self.package}.{name.partition('.')[0]}"]


def _installed(top: str) -> bool:
    if top in sys.builtin_module_names:
        return True
    spec = PathFinder.find_spec(top)
    return spec is not None and spec.origin is not None
