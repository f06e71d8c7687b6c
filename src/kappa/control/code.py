"""The code of a deployed version, imported from its bundle: what folds its rows."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kappa.model.events import Event
from kappa.model.views import View
from kappa.ports import Version


class ViewCode(msgspec.Struct, frozen=True):
    """What a kernel needs to fold a version.

    Attributes:
        view: The view.
        events: All event types of its project.
    """

    view: type[View]
    events: tuple[type[Event], ...]


# Returns the code of a version, from its bundle. Raises BundleDamaged if it is not what was deployed.
LoadCode = Callable[[Version], ViewCode]
