"""Files that appear with their whole content or not at all, and what the file system says when it cannot work."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kappa.errors import StorageFull, StoreUnavailable

# Begins the name of a file that is being written; no key and no subject begins so.
UNFINISHED = ".writing-"


def write(file: Path, content: bytes) -> None:
    """Write a file in place of one that is there; it is on disk when this returns."""
    with _draft(file, content) as draft:
        draft.replace(file)


def write_new(file: Path, content: bytes) -> None:
    """Write a file that is not there yet; it is on disk when this returns.

    Raises:
        FileExistsError: It is there.
    """
    with _draft(file, content) as draft:
        os.link(draft, file)


@contextmanager
def _draft(file: Path, content: bytes) -> Iterator[Path]:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=UNFINISHED)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(written.fileno())
        yield draft
        _sync_folder(file.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; without this a file can lose its name with the power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def file_errors(folder: Path) -> Iterator[None]:
    """Translate what the file system says about `folder`."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(store=str(folder), cause=cause) from error
        next_step = "check the folder and its permissions"
        raise StoreUnavailable(store=str(folder), cause=cause, next_step=next_step) from error
