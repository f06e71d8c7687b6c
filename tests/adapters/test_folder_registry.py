"""The schema registry in a folder keeps the laws of a registry; its files are for people, too."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from kappa.adapters.folder.registry import FolderRegistry
from kappa.errors import StoreUnavailable
from kappa.testing.registry_conformance import SchemaRegistryConformance, schema


class TestFolderRegistry(SchemaRegistryConformance):
    @pytest.fixture
    def open_registry(self, tmp_path: Path) -> Callable[[], FolderRegistry]:
        return partial(FolderRegistry, tmp_path / "schemas")

    @pytest.fixture
    def subject(self) -> str:
        return "shop-OrderPlaced"


def test_a_schema_is_a_file_that_can_be_reviewed(tmp_path: Path):
    FolderRegistry(tmp_path).register("shop-Seen", {"type": "object"})

    assert (tmp_path / "shop-Seen" / "1.json").read_text() == '{\n  "type": "object"\n}\n'


@pytest.mark.parametrize("subject", ["../shop", "a/b", "Ünï", "two words", "%2F"])
def test_any_name_can_be_a_subject(tmp_path: Path, subject: str):
    registry = FolderRegistry(tmp_path / "schemas")
    registry.register(subject, schema("a"))

    assert registry.subjects() == [subject]
    assert [file.name for file in tmp_path.iterdir()] == ["schemas"]


def test_a_damaged_file_is_named(tmp_path: Path):
    registry = FolderRegistry(tmp_path)
    registry.register("shop-Seen", schema("a"))
    (tmp_path / "shop-Seen" / "1.json").write_text("<<<<<<< HEAD")

    with pytest.raises(StoreUnavailable, match=r"1\.json: it is no JSON object") as failure:
        registry.schemas("shop-Seen")

    assert not failure.value.retryable
