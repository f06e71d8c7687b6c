"""How a version is given on the command line: `v2`, or `2`."""

from __future__ import annotations

import re

import click


def version_number(text: str) -> int:
    """Return a version number.

    Raises:
        click.BadParameter: The text is none.

    >>> version_number("v12"), version_number("3")
    (12, 3)
    """
    found = re.fullmatch(r"v?([1-9][0-9]{0,8})", text)
    if found is None:
        raise click.BadParameter(f"'{text}' is not a version: expected v2, for example")
    return int(found[1])


# What click takes for a type.
VERSION = version_number
