"""Say whether bytes are an event: a JSON object with a type, a key and a time. Its other fields are the views' affair.

Pure. An unknown type is an event too: the log is the truth, and views skip what they do not know. Field types are
not checked, since views differ in what they use: a wrong one becomes a dead letter of those that do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kappa.model.harness import event_time_us
from kappa.model.records import NewRecord
from kappa.model.schema import encode_key
from kappa.model.types import INT_MAX, INT_MIN
from kappa.ports.log import RECORD_BYTES_MAX

_Key = Annotated[str, Meta(min_length=1)] | Annotated[int, Meta(ge=INT_MIN, le=INT_MAX)]


class NotAnEvent(ValueError):
    """Input that cannot become an event; its text is the reason, with what was expected and what was found."""


class EventReader:
    """Reads what the log must know of an event: its type, its key and its time."""

    def __init__(self, key_field: str) -> None:
        envelope = msgspec.defstruct(
            "Envelope",
            [
                ("type", Annotated[str, Meta(min_length=1)]),
                ("timestamp", Annotated[datetime, Meta(tz=True)]),
                ("key", _Key, msgspec.field(name=key_field)),
            ],
            gc=False,
        )
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(envelope).decode

    def read(self, value: bytes) -> tuple[str, NewRecord]:
        """Return an event's type and its record, whose value is `value` as it is.

        Raises:
            NotAnEvent: With the reason.

        >>> reader = EventReader("user_id")
        >>> kind, record = reader.read(b'{"type":"Seen","user_id":"ana","timestamp":"1970-01-01T00:00:01+00:00"}')
        >>> kind, record.key, record.event_time_us
        ('Seen', b'ana', 1000000)
        >>> reader.read(b'{"type":"Seen","timestamp":"1970-01-01T00:00:01Z"}')
        Traceback (most recent call last):
        kappa.control.ingest.envelope.NotAnEvent: Object missing required field `user_id`
        """
        try:
            # The decoder passes over the text of fields it does not know without checking it.
            if not value.isascii():
                value.decode()
            envelope = self._decode(value)
        except UnicodeDecodeError as error:
            raise NotAnEvent(f"Expected UTF-8, got {error.object[error.start : error.end]!r}") from error
        except RecursionError as error:
            raise NotAnEvent("Expected JSON nested less deeply") from error
        except msgspec.MsgspecError as error:
            raise NotAnEvent(_reason(error)) from error
        key = encode_key((envelope.key,))
        if len(key) + len(value) > RECORD_BYTES_MAX:
            raise NotAnEvent(too_large(len(key) + len(value)))
        return envelope.type, NewRecord(key, value, event_time_us(envelope.timestamp))


def _reason(error: msgspec.MsgspecError) -> str:
    # Of other faults the decoder says that JSON is malformed; of this one it leaves open what was truncated.
    text = str(error)
    return "JSON is malformed: it ends too early" if text == "Input data was truncated" else text


def too_large(size_bytes: int) -> str:
    """Return the reason for refusing something of this size."""
    return f"Expected at most {RECORD_BYTES_MAX:,} bytes, got {size_bytes:,}"
