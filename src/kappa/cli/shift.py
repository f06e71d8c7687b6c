"""`kappa shift`: serve a share of a view's keys from a candidate."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb
from kappa.cli.waiting import wait_for
from kappa.ports import Release

_WAIT_S = 10.0
_SHARE = re.compile(r"v?([1-9][0-9]{0,8})=([0-9]+(?:\.[0-9]+)?)%?")


def _to_shares(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[int, float]:
    del context, parameter
    shares: dict[int, float] = {}
    for text in texts:
        found = _SHARE.fullmatch(text)
        if found is None:
            raise click.BadParameter(f"'{text}' is not a share: expected v2=10 for 10 percent, for example")
        version = int(found[1])
        if version in shares:
            raise click.BadParameter(f"v{version} has two shares")
        shares[version] = float(found[2])
    return shares


@verb
@click.argument("view")
@click.argument("shares", metavar="vN=PERCENT...", callback=_to_shares, nargs=-1, required=True)
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=_WAIT_S, show_default=True, help="For catching up, s."
)
def shift(app: App, out: Output, *, view: str, shares: dict[int, float], wait_s: float) -> None:
    """Serve a share of the keys of VIEW from a candidate: a canary. The primary keeps the rest.

    The share is sticky: raising it only moves keys to the candidate, lowering it only moves them back, and 0 takes all
    of them back. 100 is a share too: only `kappa promote` makes the candidate primary. `kappa get` reads a key from the
    version that serves it; `kappa query` reads primaries.

    The candidate has to have caught up with the primary; --wait says how long to wait for that.

    Examples:
      kappa shift carrier v2=10
      kappa shift carrier v1=50 v2=50
      kappa shift carrier v2=0
    """
    release = wait_for(app.releasing.shift(view, shares, wait_s=wait_s), out, f"catching up {view}")
    out.show(release, lambda: out.line("\n".join(_lines(release, view))))


def _lines(release: Release, view: str) -> Iterator[str]:
    primary, canary = release.primaries[view], release.canaries.get(view)
    if canary is None:
        yield f"{view} v{primary} serves all keys"
        return
    yield f"{view} v{canary.version} serves {canary.percent:g} % of the keys, v{primary} the rest"
    yield f"next:  kappa promote {view} v{canary.version}"
    yield f"       take the share back: kappa shift {view} v{canary.version}=0"
