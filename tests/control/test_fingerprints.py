"""What a view's fingerprint depends on: all that could change its rows."""

from __future__ import annotations

from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from kappa import Event, View, latest, on
from kappa.control.fingerprints import fingerprint_parts


def parts(default: Any) -> dict[str, str]:
    class Tagged(Event):
        k: str
        tags: list[str] = default

    class Tags(View, key="k"):
        last: list[str] | None = latest(Tagged.tags)

    return fingerprint_parts(Tags, Path(__file__).parent)


@pytest.mark.parametrize(("one", "other"), [([], ["a"]), (["a"], ["b"])])
def test_the_default_of_an_event_s_list_counts(one, other):
    assert parts(one) == parts(list(one))
    assert parts(one) != parts(other)


def parts_of_colours(*names: str) -> dict[str, str]:
    colour = Enum("Colour", {name: name for name in names}, module=__name__)

    class Painted(Event):
        k: str
        colour: str

    class Paint(View, key="k"):
        best: colour | None = None

        @on(Painted)
        def painted(self, event):
            self.best = event.colour

    return fingerprint_parts(Paint, Path(__file__).parent)


def test_the_members_of_an_enumeration_count():
    assert parts_of_colours("RED", "BLUE") == parts_of_colours("RED", "BLUE")
    assert parts_of_colours("RED", "BLUE") != parts_of_colours("RED", "GREEN")


def test_a_package_counts_that_folding_uses():
    class Said(Event):
        k: str
        text: str

    class Quotes(View, key="k"):
        text: str = ""

        @on(Said)
        def said(self, event):
            self.text = plain(event.text)

    class Sizes(View, key="k"):
        size: int = 0

        @on(Said)
        def said(self, event):
            self.size += len(msgspec.json.encode(event.text))

    def packages(view):
        found = fingerprint_parts(view, Path(__file__).parent).items()
        return {name: text for name, text in found if name.startswith("package ")}

    assert packages(Quotes) == {"package click": version("click")}
    assert packages(Sizes) == {}  # what Kappa needs counts with Kappa


def plain(text):
    return click.unstyle(text)
