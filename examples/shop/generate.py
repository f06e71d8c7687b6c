"""Write a shop's events as NDJSON, as many as you like, the same ones for the same seed.

    python generate.py --events 2000000 --keys 100000 --skew 1.1 --seed 7 > events.ndjson

Customers register at an even pace until there are `--keys` of them; everything else is done by one who has registered
before, the n-th of them in proportion to 1 / n ** skew. Events are about 160 bytes long, and a second apart on average.
Old and malformed records take the place of good ones and leave all others as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random

START = datetime(2026, 1, 1, tzinfo=UTC)
PAGES = 2_000
COUNTRIES = ("AT", "BE", "DE", "DK", "ES", "FR", "GB", "IE", "IT", "JP", "NL", "PL", "SE", "US")

# Shares of what registered customers do; the rest are page views.
ORDERS = 0.16
UPDATES = 0.10
# Of the orders, those in pounds; all others are in euros.
POUNDS = 0.05

# Writing some thousand lines at a time is fast and takes little memory.
LINES_PER_WRITE = 20_000


def event_lines(*, events: int, keys: int, skew: float, seed: int, bad: float = 0.0, old: float = 0.0) -> Iterator[str]:
    """Yield `events` lines, each a JSON object (or, for a share of `bad`, something that should have been one).

    >>> first, second = event_lines(events=2, keys=1, skew=1.1, seed=7)
    >>> first[:63]
    '{"type":"UserRegistered","event_id":"7-0","user_id":"u9e3779b1"'
    """
    assert keys >= 1, keys
    lines = _good_lines(events, keys, skew, seed, old)
    if not bad:
        return lines
    # A generator of its own, so that the other lines stay the same whatever the share.
    return _spoil(lines, bad, Random(f"{seed} bad"))  # noqa: S311 - not a secret


def _good_lines(events: int, keys: int, skew: float, seed: int, old: float) -> Iterator[str]:
    random = Random(seed).random  # noqa: S311 - not a secret
    rank = _ranks(skew, random)
    order = _orders(random, old, Random(f"{seed} old"))  # noqa: S311 - not a secret
    registered = 0
    minute, minute_text = -1, ""
    for index in range(events):
        if registered * events <= index * keys:
            registered += 1
            user = _user_id(registered)
            kind, body = "UserRegistered", _registration(user, random)
        else:
            user = _user_id(rank(registered))
            draw = random()
            if draw < ORDERS:
                kind, body = "OrderPlaced", order(index)
            elif draw < ORDERS + UPDATES:
                kind, body = "ProfileUpdated", _update(random)
            else:
                page = int(random() ** 2 * PAGES)
                device = "mobile" if draw > 0.6 else "desktop"
                kind, body = "PageView", f'"_schema_version":1,"page":"/item/{page}","device":"{device}"'
        # Formatting a datetime costs as much as all the rest, so it is done once a minute.
        now, ms = divmod(index * 1_000 + int(random() * 1_000), 60_000)
        if now != minute:
            minute, minute_text = now, f"{START + timedelta(minutes=now):%Y-%m-%dT%H:%M}"
        yield (
            f'{{"type":"{kind}","event_id":"{seed}-{index}","user_id":"{user}",'
            f'"timestamp":"{minute_text}:{ms // 1_000:02d}.{ms % 1_000:03d}Z",{body}}}\n'
        )


def _user_id(rank: int) -> str:
    # An odd factor gives every rank its own number below 2 ** 32, and spreads the active customers over all keys.
    return f"u{rank * 0x9E3779B1 & 0xFFFFFFFF:08x}"


def _ranks(skew: float, random: Callable[[], float]) -> Callable[[int], int]:
    """Return a function that draws from 1 to n, the rank r in proportion to 1 / r ** skew.

    The inverse of the continuous distribution: close enough, and needs no table when n grows.
    """
    if skew == 1:
        return lambda n: int(n ** random())
    power = 1 - skew
    inverse = 1 / power
    return lambda n: int(((n**power - 1) * random() + 1) ** inverse)


def _registration(user: str, random: Callable[[], float]) -> str:
    return f'"_schema_version":1,"email":"{user}@example.com","country":"{COUNTRIES[int(random() * len(COUNTRIES))]}"'


def _update(random: Callable[[], float]) -> str:
    choice = int(random() * 10_000)
    field = "city" if choice % 2 else "name"
    return f'"_schema_version":1,"field":"{field}","value":"{field.title()} {choice}"'


def _orders(random: Callable[[], float], old: float, versions: Random) -> Callable[[int], str]:
    """Return a function that writes an order of today's shape, or for a share of `old` of one of the former two."""

    def order(index: int) -> str:
        # Squaring makes small amounts more frequent than large ones.
        cents = 99 + int(random() ** 2 * 50_000)
        currency = "GBP" if random() < POUNDS else "EUR"
        if old and versions.random() < old:
            if currency == "EUR" and versions.random() < 0.5:
                return f'"order_id":"o-{index}","amount_cents":{cents}'
            return f'"_schema_version":2,"order_id":"o-{index}","amount_cents":{cents},"currency":"{currency}"'
        amount = f"{cents // 100}.{cents % 100:02d}"
        return f'"_schema_version":3,"order_id":"o-{index}","amount":"{amount}","currency":"{currency}"'

    return order


# What producers get wrong: some of it can be seen when the record is ingested, some only when it is folded.
MISTAKES: tuple[Callable[[str], str], ...] = (
    lambda line: line[: len(line) // 2] + "\n",
    lambda line: f"[{line.rstrip()}]\n",
    lambda line: line.replace('"type"', '"kind"', 1),
    lambda line: line.replace('"user_id"', '"user"', 1),
    lambda line: line.replace('"timestamp":"2026', '"timestamp":"in 2026', 1),
    lambda line: line.replace('Z",', '",', 1),
    lambda line: '{"_schema_version":99,' + line[1:].replace('"_schema_version"', '"_former_version"', 1),
)


def _spoil(lines: Iterator[str], share: float, random: Random) -> Iterator[str]:
    for line in lines:
        yield random.choice(MISTAKES)(line) if random.random() < share else line


def main() -> None:
    """Read the options, write the lines."""
    parser = argparse.ArgumentParser(description="Write a shop's events as NDJSON.")
    parser.add_argument("--events", type=int, default=10_000, help="how many events (default: %(default)s)")
    parser.add_argument("--keys", type=int, default=500, help="how many customers (default: %(default)s)")
    parser.add_argument("--skew", type=float, default=1.1, help="0: all are equally active (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="other seeds, other events (default: %(default)s)")
    parser.add_argument("--bad", type=float, default=0.0, help="share of malformed records (default: none)")
    parser.add_argument("--old", type=float, default=0.0, help="share of orders in an old schema (default: none)")
    parser.add_argument("--out", type=Path, help="the file to write (default: standard output)")
    options = vars(parser.parse_args())
    if options["keys"] < 1:
        parser.error("--keys must be at least 1: every event is somebody's")
    out: Path | None = options.pop("out")
    lines = event_lines(**options)
    stream = out.open("w", encoding="utf-8", newline="\n") if out else sys.stdout
    with stream:
        while chunk := "".join(islice(lines, LINES_PER_WRITE)):
            stream.write(chunk)


if __name__ == "__main__":
    main()
