"""Optional extras: what a project's settings or a verb ask for is imported when it is needed, and may be missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kappa.errors import ProjectError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Let a block import what an optional extra brings.

    Raises:
        ProjectError: It is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ProjectError(
            f"what the optional extra {extra} brings is needed here and cannot be imported: {error}",
            next_step=f"install the extra: pip install 'kappa-pipeline[{extra}]'",
        ) from error
