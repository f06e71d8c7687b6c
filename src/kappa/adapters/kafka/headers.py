"""What a record of a Kafka log says in its headers: event time, and in a repartitioned log its origin. Pure.

| header | value |
|---|---|
| `kappa-event-time` | 8 bytes: microseconds since 1970, UTC, a signed integer, highest byte first |
| `kappa-origin` | 12 bytes: partition (4) and offset (8) of the record it was copied from, likewise |

Fixed widths, so that Java reads them with `ByteBuffer.getLong` and nobody parses text per record. A record without
them is legal: other producers write such records. Its event time is 0, which means that it is not known.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kappa.model.records import NewRecord

EVENT_TIME, ORIGIN = "kappa-event-time", "kappa-origin"

# What a record that nobody copied says of its origin: itself. No partition has this number.
_NO_PARTITION = -1

# As the client gives them.
Headers = Sequence[tuple[str, str | bytes | None]] | None

_event_time = struct.Struct(">q")
_origin = struct.Struct(">iq")


def headers_of(record: NewRecord) -> list[tuple[str, str | bytes | None]]:
    """Return the headers of a record to append.

    >>> [(name, value.hex()) for name, value in headers_of(NewRecord(b"k", b"v", 1, origin=(2, 7)))]
    [('kappa-event-time', '0000000000000001'), ('kappa-origin', '000000020000000000000007')]
    >>> headers_of(NewRecord(b"k", b"v"))
    []
    """
    headers: list[tuple[str, str | bytes | None]] = []
    if record.event_time_us:
        headers.append((EVENT_TIME, _event_time.pack(record.event_time_us)))
    if record.origin is not None:
        headers.append((ORIGIN, _origin.pack(*record.origin)))
    return headers


def event_time_us(headers: Headers) -> int:
    r"""Return the event time in a record's headers, 0 if there is none.

    >>> event_time_us([("traceparent", b"00-1"), ("kappa-event-time", bytes(7) + b"\x05")])
    5
    >>> event_time_us([("kappa-event-time", b"yesterday, about noon")])
    0
    """
    for name, value in headers or ():
        if name == EVENT_TIME and isinstance(value, bytes) and len(value) == _event_time.size:
            return int(_event_time.unpack(value)[0])
    return 0


def origin_of(headers: Headers, offset: int) -> tuple[int, int]:
    """Return the origin in a record's headers; a record without one, at `offset`, is its own.

    >>> origin_of(headers_of(NewRecord(b"k", b"v", origin=(2, 7))), 30)
    (2, 7)
    >>> origin_of(None, 30)
    (-1, 30)
    """
    for name, value in headers or ():
        if name == ORIGIN and isinstance(value, bytes) and len(value) == _origin.size:
            partition, its_offset = _origin.unpack(value)
            return partition, its_offset
    return _NO_PARTITION, offset
