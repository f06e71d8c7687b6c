"""How far versions are, as the table beside them says."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kappa.adapters.postgres.database import Connection
from kappa.model.records import Progress
from kappa.model.schema import ViewTable

Committed = list[tuple[int, int, int, str]]

_decode_origins = msgspec.json.Decoder(dict[int, int]).decode


def read_progress(connection: Connection, schema: str, table: ViewTable) -> Committed:
    """Return what is committed of a version, as `progress_of` takes it. `schema` is quoted."""
    return connection.execute(
        f"SELECT partition, next_offset, watermark_us, origins FROM {schema}.progress WHERE table_name = %s",  # noqa: S608 - quoted
        (table.name,),
    ).fetchall()


def progress_of(partitions: Iterable[int], committed: Committed) -> dict[int, Progress]:
    """Return the progress of each of those partitions."""
    found = dict.fromkeys(partitions, Progress())
    for partition, next_offset, watermark_us, origins in committed:
        if partition in found:
            found[partition] = Progress(next_offset, watermark_us, _decode_origins(origins))
    return found
