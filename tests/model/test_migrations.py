"""What `@migrate` marks, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kappa import Event, View, count, migrate
from kappa.control.checking import check_project
from kappa.control.project import Project
from kappa.errors import DefinitionError
from kappa.model.views import view_spec


class Seen(Event):
    user: str


def test_a_view_knows_what_makes_its_rows_of_which_version() -> None:
    class Visitor(View, key="user"):
        visits: int = count(Seen)

        @migrate(from_version=1)
        def from_v1(old: dict[str, Any]) -> dict[str, Any]:  # noqa: N805 - it takes no row
            return {"visits": old["views"]}

        @migrate(from_version=2)
        @staticmethod
        def from_v2(old: dict[str, Any]) -> dict[str, Any]:
            return old

        @staticmethod
        @migrate(from_version=4)
        def from_v4(old: dict[str, Any]) -> dict[str, Any]:
            return old

    migrations = view_spec(Visitor).migrations
    assert {version: each.name for version, each in migrations.items()} == {1: "from_v1", 2: "from_v2", 4: "from_v4"}
    assert migrations[1].function({"views": 3}) == Visitor.from_v1({"views": 3}) == {"visits": 3}
    assert Visitor.fold([Seen(user="ana")]).from_v2({}) == {}


@pytest.mark.parametrize("version", [0, True, "1", None])
def test_the_version_is_a_number_from_1(version: Any) -> None:
    with pytest.raises(DefinitionError, match="takes the number of a former version"):
        migrate(from_version=version)


def test_two_for_one_version_are_refused() -> None:
    with pytest.raises(DefinitionError, match="view Visitor migrates rows of version 1 twice: one and other"):

        class Visitor(View, key="user"):
            visits: int = count(Seen)

            @staticmethod
            @migrate(from_version=1)
            def one(old: dict[str, Any]) -> dict[str, Any]:
                return old

            @staticmethod
            @migrate(from_version=1)
            def other(old: dict[str, Any]) -> dict[str, Any]:
                return old


def test_a_migration_does_not_take_the_row() -> None:
    with pytest.raises(DefinitionError, match="from_v1 must take the old fields and nothing else") as refused:

        class Visitor(View, key="user"):
            visits: int = count(Seen)

            @migrate(from_version=1)
            def from_v1(self, old: dict[str, Any]) -> dict[str, Any]:
                return old

    assert refused.value.where is not None
    assert refused.value.where.startswith(__file__)


def test_a_migration_is_no_generator() -> None:
    with pytest.raises(DefinitionError, match="asynchronous or a generator"):

        class Visitor(View, key="user"):
            visits: int = count(Seen)

            @staticmethod
            @migrate(from_version=1)
            def from_v1(old: dict[str, Any]) -> Any:
                yield old


def test_a_migration_must_be_deterministic_like_a_handler() -> None:
    class Visitor(View, key="user"):
        visits: int = count(Seen)

        @staticmethod
        @migrate(from_version=1)
        def from_v1(old: dict[str, Any]) -> dict[str, Any]:
            return {"visits": hash(old["name"])}

    report = check_project(Project({"Seen": Seen}, {"visitor": Visitor}), Path(__file__).parent)

    assert ["from_v1" in finding.function for finding in report.findings] == [True]
