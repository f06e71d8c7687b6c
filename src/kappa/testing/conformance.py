"""The frame of every suite: laws that cannot be silenced, and gaps that are declared with their reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest


class Conformance:
    """A suite of laws. An adapter's test subclasses it, gives the fixture that the suite names, and its gaps.

    A law in `gaps` still runs and has to fail: when the technology learns to keep it, the build says so. One in `races`
    fails only if two meet at the wrong moment, so it may hold.

    Attributes:
        gaps: Law -> why this technology cannot keep it.
        races: Law -> why this technology does not always keep it.
    """

    gaps: ClassVar[Mapping[str, str]] = {}
    races: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        laws = {name for base in cls.__mro__[1:] for name in vars(base) if name.startswith("test_")}
        if overridden := sorted(laws & vars(cls).keys()):
            raise TypeError(f"{cls.__name__} overrides {', '.join(overridden)}: declare a gap instead")
        if unknown := sorted((cls.gaps.keys() | cls.races.keys()) - laws):
            raise TypeError(f"{cls.__name__} declares gaps in laws that do not exist: {', '.join(unknown)}")

    @pytest.fixture(autouse=True)
    def _declared_gap(self, request: pytest.FixtureRequest) -> None:
        for declared, strict in ((self.gaps, True), (self.races, False)):
            if (reason := declared.get(request.function.__name__)) is not None:
                request.applymarker(pytest.mark.xfail(reason=reason, strict=strict))
