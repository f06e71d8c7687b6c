"""Bundles: the code of versions, kept under the hash of its content, and imported from there.

A bundle is a zip of a project's Python files and a manifest. The control store holds it; a copy lies unpacked in the
state folder, where tracebacks and people find it. Whatever happens to the working tree or to that copy, a version runs
the code that was deployed, or is refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from kappa.control.bundle_import import import_bundled
from kappa.control.code import ViewCode
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.project import Project, explained, project_of
from kappa.errors import BundleDamaged, DefinitionError, ProjectError, StoreUnavailable
from kappa.model.fingerprint import combine
from kappa.planning.changes import compare_parts
from kappa.ports import Deployment
from kappa.ports.versions import VersionStore

FORMAT = 1
# A project's own code. More is an environment or data that lies among it by mistake.
FILES_MAX, BYTES_MAX = 5_000, 32 * 1024 * 1024

_MANIFEST = "kappa-bundle.json"
_SKIPPED = {"__pycache__", "node_modules"}
# The earliest time that a zip can hold: a bundle depends on the content of files alone.
_TIME = (1980, 1, 1, 0, 0, 0)


class Manifest(msgspec.Struct, frozen=True):
    """What a bundle says of itself.

    Attributes:
        format: `FORMAT`.
        modules: The modules whose events and views belong to the project.
    """

    format: int
    modules: tuple[str, ...]


class LoadedBundle(msgspec.Struct, frozen=True):
    """The code of a bundle, imported.

    Attributes:
        project: Its events and views.
        root: The folder that its files are unpacked in: what a project's folder is to the working tree.
    """

    project: Project
    root: Path


def pack(root: Path, modules: Sequence[str], *, without: Path | None = None) -> bytes:
    """Return the bundle of the project in `root`; equal files give equal bytes, on any machine.

    It holds every Python file that can be imported from the project folder, except those in virtual environments,
    `node_modules` and the folder `without`.

    Raises:
        ProjectError: There are too many files, or they are too large.
    """
    files = {}
    for path in _python_files(root, without):
        try:
            files[path.relative_to(root).as_posix()] = path.read_bytes()
        except OSError as error:
            raise ProjectError(f"cannot read '{path}': {error.strerror}") from error
        if len(files) > FILES_MAX:
            raise _too_large(root, files, f"more than {FILES_MAX:,} Python files")
    if sum(map(len, files.values())) > BYTES_MAX:
        raise _too_large(root, files, f"Python files of more than {BYTES_MAX // 1024**2} MiB")
    manifest = msgspec.json.encode(Manifest(FORMAT, tuple(modules)))
    content = io.BytesIO()
    # Not compressed: what a compressor makes of the same files differs from one release to the next.
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted({**files, _MANIFEST: manifest}.items()):
            archive.writestr(zipfile.ZipInfo(name, _TIME), text)
    return content.getvalue()


def _python_files(root: Path, without: Path | None) -> Iterator[Path]:
    for folder, inner, names in os.walk(root):
        # A name that is no identifier cannot be imported; that leaves out hidden folders, too.
        inner[:] = [
            name
            for name in inner
            if name.isidentifier()
            and name not in _SKIPPED
            and Path(folder, name) != without
            and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(folder, name) for name in names if name.endswith(".py") and name[:-3].isidentifier())


def _too_large(root: Path, files: Mapping[str, bytes], found: str) -> ProjectError:
    sizes: Counter[str] = Counter()
    for name, text in files.items():
        sizes[str(PurePosixPath(name).parent)] += len(text)
    biggest, size = sizes.most_common(1)[0]
    return ProjectError(
        f"the project has {found}; the biggest folder is '{biggest}', with {size / 1e6:,.1f} MB",
        where=str(root),
        next_step="keep data and other projects outside the project's folder, or in one whose name begins with a dot",
    )


class Bundles:
    """The bundles of a project, and the code in them."""

    def __init__(self, folder: Path, control: VersionStore) -> None:
        """Unpack bundles below `folder`; `control` keeps them."""
        self._folder, self._control = folder, control

    def store(self, root: Path, modules: Sequence[str]) -> str:
        """Keep the code of the project in `root`, and return the bundle's id. Idempotent.

        Raises:
            ProjectError: It is too large, or cannot be imported from a bundle.
            DefinitionError: An event or a view is declared wrongly.
        """
        entry = self._control.store_bundle(pack(root, modules, without=self._folder))
        # What needs more than Python files is found now, not when a worker starts.
        try:
            self.load(entry.id)
        except (ProjectError, DefinitionError) as error:
            if error.where is not None:
                # As the author knows it, and not where the bundle is unpacked.
                error.where = error.where.replace(str(self._folder / entry.id), str(root))
            raise
        return entry.id

    def load(self, bundle_id: str) -> LoadedBundle:
        """Import a bundle.

        Raises:
            BundleNotFound: It is not stored.
            BundleDamaged: Its content is not what was stored.
            ProjectError: It cannot be imported.
        """
        manifest, files = _read(bundle_id, self._control.bundle(bundle_id))
        root = self._folder / bundle_id
        _unpack(root, files)
        modules = []
        for module in manifest.modules:
            with explained(module, root):
                modules.append(import_bundled(root, files, module))
        return LoadedBundle(project_of(modules), root)

    def forget(self, bundle_id: str) -> None:
        """Delete what is unpacked of a bundle. Idempotent."""
        shutil.rmtree(self._folder / bundle_id, ignore_errors=True)

    def code(self, deployment: Deployment) -> ViewCode:
        """Return the code of a version, deployed or about to be.

        Raises:
            BundleNotFound: Its bundle is not stored.
            BundleDamaged: The bundle's content, or the code that it holds, is not what was deployed.
            ProjectError: It cannot be imported.
        """
        loaded = self.load(deployment.bundle)
        view = loaded.project.views.get(deployment.table.view)
        if view is None:
            raise BundleDamaged(bundle=deployment.bundle, reason=f"it has no view '{deployment.table.view}'")
        parts = fingerprint_parts(view, loaded.root)
        if combine(parts) != deployment.fingerprint:
            raise BundleDamaged(bundle=deployment.bundle, reason=_difference(deployment, parts))
        return ViewCode(view, tuple(loaded.project.events.values()))


def _read(bundle_id: str, content: bytes) -> tuple[Manifest, dict[str, bytes]]:
    if hashlib.sha256(content).hexdigest() != bundle_id:
        raise BundleDamaged(bundle=bundle_id, reason="its content is not what was stored")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = msgspec.json.decode(files.pop(_MANIFEST), type=Manifest)
    if manifest.format != FORMAT:
        raise BundleDamaged(bundle=bundle_id, reason=f"its format is {manifest.format}, and this kappa reads {FORMAT}")
    return manifest, files


def _unpack(root: Path, files: Mapping[str, bytes]) -> None:
    """Make the files on disk those of the bundle, each in one step: others may do so at the same time."""
    try:
        for name, text in files.items():
            _write(root / name, text)
        for extra in root.rglob("*.py"):
            if extra.relative_to(root).as_posix() not in files:
                extra.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailable(store=str(root), cause=error.strerror or str(error)) from error


def _write(file: Path, text: bytes) -> None:
    if file.is_file() and file.read_bytes() == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as written:
        written.write(text)
    Path(written.name).replace(file)


def _difference(deployment: Deployment, parts: Mapping[str, str]) -> str:
    """Say why the code is not what was deployed."""
    view, changes = deployment.table.view, compare_parts(deployment.parts, parts)
    names = sorted({*changes.added, *changes.removed, *changes.changed})
    packages = [name for name in names if name.startswith("package ")]
    if packages:
        was, now = (_versions(packages, each) for each in (deployment.parts, parts))
        return f"{view} was deployed with {was}, and this environment has {now}"
    return f"what it does for {view} is not what was deployed: {', '.join(names)}"


def _versions(packages: Sequence[str], parts: Mapping[str, str]) -> str:
    """Put packages for people.

    >>> _versions(["package numpy", "package pytz"], {"package numpy": "2.0"})
    'numpy 2.0, no pytz'
    """
    names = [package.removeprefix("package ") for package in packages]
    return ", ".join(
        f"{name} {parts[package]}" if package in parts else f"no {name}"
        for name, package in zip(names, packages, strict=True)
    )
