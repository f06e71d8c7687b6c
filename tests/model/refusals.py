"""Expect that a definition is refused, with its words, its remedy and its line."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kappa.errors import DefinitionError


@contextmanager
def refused(message: str, remedy: str, *, line: str = "# wrong") -> Iterator[None]:
    """Expect a definition error that says `message` and `remedy`, and names the place of a line that says `line`."""
    with pytest.raises(DefinitionError) as caught:
        yield
    error = caught.value
    assert (message in error.message, remedy in (error.next_step or "")) == (True, True), (
        error.message,
        error.next_step,
    )
    assert error.where is not None
    file, _, number = error.where.rpartition(":")
    assert line in linecache.getline(file, int(number)), f"{error.where}: {error.message}"
