"""Judge a diff by what its author expected. Pure; the words themselves are in `model.expectations`."""

from __future__ import annotations

from collections.abc import Mapping

from kappa.model.expectations import ROWS, changed_percent_max
from kappa.planning.diffs import Verdict
from kappa.planning.tally import Tally


def judge(expectations: Mapping[str, str], tally: Tally) -> tuple[Verdict, ...]:
    """Return a verdict on each expectation, in their order."""
    return tuple(_judge(name, expected, tally) for name, expected in expectations.items())


def sentence(verdict: Verdict) -> str:
    """Return a verdict in words.

    >>> sentence(Verdict("flights", "unchanged", met=False, found="it changed for 3 of 16 keys, 18.8 %"))
    'flights: expected "unchanged", but it changed for 3 of 16 keys, 18.8 %'
    """
    return f'{verdict.name}: expected "{verdict.expected}", {"and" if verdict.met else "but"} {verdict.found}'


def _judge(name: str, expected: str, tally: Tally) -> Verdict:
    if name == ROWS:
        differing, total = tally.only_left + tally.only_right, tally.compared
        what = f"only one version has {differing:,} of {total:,} keys"
    else:
        counts = {column.name: column.changed for column in tally.columns()}
        if name not in counts:
            # Declared by the version that has it, so it is new: from the next version on there is something to compare.
            return Verdict(name, expected, met=True, found="there is no such column in both versions")
        differing, total = counts[name], tally.equal + tally.changed
        what = f"it changed for {differing:,} of {total:,} keys"
    met = 100 * differing <= changed_percent_max(expected) * total
    percent = 100 * differing / total if total else 0.0
    return Verdict(name, expected, met=met, found=f"{what}, {percent:.3g} %")
