"""Compare a sample of a seed's rows with a full replay of its version's code, and say in a sentence what came out.

Which keys are taken depends on the keys alone, so the same seed is checked alike each time. It reads the log and writes
nothing. Numbers are equal if their values are.
"""

from __future__ import annotations

import heapq
import zlib
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kappa.control.advance import Advance
from kappa.control.alternating import Alternating, EventRange
from kappa.control.code import ViewCode
from kappa.model.partitioning import partition_of
from kappa.model.records import Position
from kappa.model.schema import ViewTable
from kappa.model.views import OFFSET, view_spec
from kappa.ports import Log, ViewStore

SAMPLE_KEYS_MAX = 20
_ALWAYS = EventRange(None, None)


class KeySample:
    """The keys of least checksum of all that it is shown: as good as random, and always the same."""

    def __init__(self, keys_max: int = SAMPLE_KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._greatest_first: list[tuple[int, bytes]] = []

    def add(self, key: bytes) -> None:
        """Show a key, once."""
        entry = (-zlib.crc32(key), key)
        if len(self._greatest_first) < self._keys_max:
            heapq.heappush(self._greatest_first, entry)
        elif entry > self._greatest_first[0]:
            heapq.heapreplace(self._greatest_first, entry)

    @property
    def keys(self) -> list[bytes]:
        """The keys, those of least checksum first."""
        return [key for _, key in sorted(self._greatest_first, reverse=True)]


def check_sample(
    keys: Sequence[bytes],
    code: ViewCode,
    table: ViewTable,
    position: Position,
    *,
    store: ViewStore,
    log: Log,
    doubt: str,
) -> Generator[Advance, None, str]:
    """Return what comparing a seed with a full replay of some keys shows.

    Args:
        keys: Those to compare.
        code: The version's.
        table: The version's, with its seed.
        position: Of the seed.
        store: Where the rows are.
        log: The version's.
        doubt: What follows if keys differ, the end of a sentence.
    """
    lost = [f"{log.name}[{partition}] before {start}" for partition, start in log.starts().items() if start]
    if lost:
        return f"unverified: the log no longer holds {', '.join(lost)}"
    stored = store.get_many(table, keys)
    folding = Alternating(code, code, _ALWAYS)
    for partition, its_keys in sorted(_by_partition(keys, table.partition_count).items()):
        # A row of a seed may be newer than the seed's position.
        rows = [stored[key].offset + 1 for key in its_keys if key is not None and key in stored]
        yield from folding.fold(log, partition, its_keys, end=max([position.get(partition, 0), *rows]))
    decode = msgspec.msgpack.Decoder(code.view).decode
    replayed = {key: decode(row.state) for key, row in folding.rows.items() if row.state is not None}
    seeded = {key: decode(row.state) for key, row in stored.items()}
    compared = [key for key in keys if key in seeded or key in replayed]
    differing = {key: said for key in compared if (said := _difference(code, seeded.get(key), replayed.get(key)))}
    return _note(len(compared), differing, doubt)


def _by_partition(keys: Iterable[bytes], partition_count: int) -> Mapping[int, set[bytes | None]]:
    found: dict[int, set[bytes | None]] = defaultdict(set)
    for key in keys:
        found[partition_of(key, partition_count)].add(key)
    return found


def _difference(code: ViewCode, seeded: Any, replayed: Any) -> str | None:
    """Say in which field a row differs first, or return None."""
    if seeded is None or replayed is None:
        return f"the {'replay' if seeded is None else 'seed'} alone has a row"
    for name in view_spec(code.view).hints:
        before, after = getattr(seeded, name), getattr(replayed, name)
        if name != OFFSET and before != after:
            return f"{name} is {before}, and {after} in the replay"
    return None


def _note(compared: int, differing: Mapping[bytes, str], doubt: str) -> str:
    if not compared:
        return "unverified: there are no rows to compare"
    if not differing:
        return f"{compared} of {compared} sampled keys equal a full replay"
    key, said = next(iter(differing.items()))
    name = key.decode(errors="backslashreplace")
    return (
        f"{len(differing)} of {compared} sampled keys differ from a full replay: {doubt}. "
        f"The first is {name}: {said[:200]}"
    )
