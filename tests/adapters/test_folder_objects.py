"""The object store in a folder keeps the laws of an object store, and what is particular to files."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from kappa.adapters.folder.objects import FolderObjects
from kappa.errors import StoreUnavailable
from kappa.testing.objects_conformance import ObjectStoreConformance


class TestFolderObjects(ObjectStoreConformance):
    @pytest.fixture
    def open_objects(self, tmp_path: Path) -> Callable[[], FolderObjects]:
        return partial(FolderObjects, tmp_path / "objects")


def test_a_folder_that_nothing_was_put_into_is_not_made(tmp_path: Path):
    objects = FolderObjects(tmp_path / "objects")

    assert (objects.keys(), objects.exists("a")) == ([], False)
    assert not (tmp_path / "objects").exists()


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, refused_writes: Callable[[], AbstractContextManager[None]]
):
    objects = FolderObjects(tmp_path)
    objects.put("a", b"first")

    with refused_writes(), pytest.raises(StoreUnavailable) as failure:
        objects.put("a", b"second")

    assert failure.value.retryable
    assert objects.get("a") == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_what_is_no_key_never_leaves_the_folder(tmp_path: Path):
    objects = FolderObjects(tmp_path / "objects")

    for key in ("../a", "/a", "a//b", "a/", "", "a b"):
        with pytest.raises(AssertionError):
            objects.put(key, b"")
