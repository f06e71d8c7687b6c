"""The object store in a folder: a key is the path of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kappa.adapters.folder.files import UNFINISHED, file_errors, write, write_new
from kappa.errors import ObjectExists, ObjectNotFound
from kappa.ports.objects import check_key


class FolderObjects:
    """Objects below a folder, which is made when something is put into it. For any number of threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, content: bytes) -> None:
        check_key(key)
        with file_errors(self._folder):
            try:
                write(self._folder / key, content)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise ObjectExists(store=str(self._folder), key=key) from error

    def put_new(self, key: str, content: bytes) -> None:
        check_key(key)
        with file_errors(self._folder):
            try:
                write_new(self._folder / key, content)
            except (FileExistsError, NotADirectoryError) as error:
                raise ObjectExists(store=str(self._folder), key=key) from error

    def get(self, key: str) -> bytes:
        check_key(key)
        with file_errors(self._folder):
            try:
                return (self._folder / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise ObjectNotFound(store=str(self._folder), key=key) from error

    def exists(self, key: str) -> bool:
        check_key(key)
        with file_errors(self._folder):
            return (self._folder / key).is_file()

    def keys(self, prefix: str = "") -> Sequence[str]:
        with file_errors(self._folder):
            files = (
                file for file in self._folder.rglob("*") if file.is_file() and not file.name.startswith(UNFINISHED)
            )
            found = (file.relative_to(self._folder).as_posix() for file in files)
            return sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        check_key(key)
        file = self._folder / key
        with file_errors(self._folder):
            try:
                file.unlink(missing_ok=True)
            except (NotADirectoryError, IsADirectoryError):
                return
            except PermissionError:  # so some systems say that it is a folder
                if file.is_dir():
                    return
                raise
            self._prune(file.parent)

    def _prune(self, folder: Path) -> None:
        """Delete folders that hold nothing, so that their names can be keys again."""
        while folder != self._folder:
            try:
                folder.rmdir()
            except OSError:  # somebody has put something into it, or deleted it
                return
            folder = folder.parent

    def close(self) -> None:
        pass
