"""What the author of a view expects of a diff between a candidate and the primary: the words, and their meaning.

Pure, and about words only; whether a diff meets an expectation is decided in `planning`. There are two forms, and every
one of them bounds the share of compared keys for which something changes, so that each can be judged of any diff.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# What is expected of the keys themselves: those that one version has and the other has not.
ROWS = "rows"
UNCHANGED = "unchanged"
FORMS = f'"{UNCHANGED}" or "changes in at most 5 %"'
_AT_MOST = re.compile(r"changes in at most ([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%")


def changed_percent_max(text: str) -> float:
    """Return the largest share of keys, in percent, for which something may change.

    Raises:
        ValueError: It is no expectation; the message says what is expected.

    >>> changed_percent_max("unchanged"), changed_percent_max("changes in at most 2.5 %")
    (0.0, 2.5)
    >>> changed_percent_max("changes a little")
    Traceback (most recent call last):
    ValueError: expected "unchanged" or "changes in at most 5 %", got 'changes a little'
    """
    if text == UNCHANGED:
        return 0.0
    found = _AT_MOST.fullmatch(text)
    if found is None or float(found[1]) > 100:  # noqa: PLR2004 - percent
        raise ValueError(f"expected {FORMS}, got {text!r}")
    return float(found[1])


def flaw_of_expectations(expect: Any, columns: Iterable[str]) -> tuple[str, str] | None:
    """Return (what is wrong with a view's expectations, what to write instead), or None.

    >>> flaw_of_expectations({"orders": "unchanged", "rows": "unchanged"}, ["orders"]) is None
    True
    >>> flaw_of_expectations({"order": "unchanged"}, ["orders"])
    ("expects something of 'order', which is no column outside its key", 'name one of: orders; or rows')
    """
    names = (*columns, ROWS)
    if not isinstance(expect, Mapping):
        return f"has expect={expect!r}, which is no dict", f'write expect={{"{names[0]}": "{UNCHANGED}"}}'
    for name, text in expect.items():
        if name not in names:
            remedy = f"name one of: {', '.join(names[:-1])}; or {ROWS}"
            return f"expects something of {name!r}, which is no column outside its key", remedy
        try:
            changed_percent_max(text if isinstance(text, str) else repr(text))
        except ValueError as error:
            return f"has expect={{{name!r}: {text!r}}}: {error}", f"write {FORMS}"
    return None
