"""Rows that an earlier state format gave, byte for byte, and states that it left: today's code must agree with both.

There is one history per released format. `python tests/histories/test_histories.py` records the current one anew, which
is right only as long as its format is not released; a later format gets files of its own, and reads these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from histories import format_1

from kappa import View
from kappa.model.harness import event_time_us
from kappa.model.kernel import Kernel
from kappa.model.records import Changes, RecordBatch, RowChange
from kappa.model.schema import encode_key
from kappa.model.views import STATE_FORMAT, view_spec

HERE = Path(__file__).parent
LOG = (HERE / "format_1_log.ndjson").read_bytes().splitlines()
ROWS = HERE / "format_1_rows.ndjson"
HALFWAY = 10


def folded(view: type[View], start: int, end: int, states: Mapping[bytes, bytes]) -> Changes:
    """Fold records `start` to `end` onto committed states."""
    events = [json.loads(value) for value in LOG[start:end]]
    kernel = Kernel(view, events=format_1.EVENTS, load=lambda _: states, rows_max=100)
    kernel.fold(
        RecordBatch(
            partition=0,
            offsets=range(start, end),
            keys=[encode_key(tuple(event[name] for name in view_spec(view).key)) for event in events],
            values=LOG[start:end],
            event_times_us=[event_time_us(_moment(event["timestamp"])) for event in events],
            appended_at_us=[0] * len(events),
            next_offset=end,
        )
    )
    return kernel.take_changes()


def _moment(text: str) -> Any:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text)


def lines(view: type[View], end: int) -> list[str]:
    """Return what is recorded of a view's rows and dead letters after `end` records."""
    changes = folded(view, 0, end, {})
    rows = [
        {"view": view.__name__, "end": end, "key": row.key.decode(), "offset": row.offset, **_shown(row)}
        for row in changes.rows
    ]
    dead = {"view": view.__name__, "end": end, "dead_letters": [letter.offset for letter in changes.dead_letters]}
    return [json.dumps(line, ensure_ascii=False) for line in [*rows, dead]]


def _shown(row: RowChange) -> dict[str, Any]:
    assert row.columns is not None
    assert row.state is not None
    return {"columns": [str(value) for value in row.columns], "state": row.state.hex()}


def recorded(view: type[View], end: int) -> list[str]:
    chosen = (f'"view": "{view.__name__}"', f'"end": {end},')
    return [line for line in ROWS.read_text(encoding="utf-8").splitlines() if all(part in line for part in chosen)]


@pytest.mark.parametrize("view", format_1.VIEWS)
@pytest.mark.parametrize("end", [HALFWAY, len(LOG)])
def test_a_log_gives_the_rows_that_it_gave_then(view, end):
    assert STATE_FORMAT == 1
    assert lines(view, end) == recorded(view, end)


@pytest.mark.parametrize("view", format_1.VIEWS)
def test_a_state_of_then_is_read_and_carried_on(view):
    entries: Sequence[dict[str, Any]] = [json.loads(line) for line in recorded(view, HALFWAY)]
    states = {row["key"].encode(): bytes.fromhex(row["state"]) for row in entries if "state" in row}

    changes = folded(view, HALFWAY, len(LOG), states)

    at_the_end = {row["key"]: row["state"] for row in map(json.loads, recorded(view, len(LOG))) if "state" in row}
    assert {row.key.decode(): row.state.hex() for row in changes.rows if row.state} == {
        key: state for key, state in at_the_end.items() if states.get(key.encode(), b"").hex() != state
    }


if __name__ == "__main__":
    text = "\n".join(line for view in format_1.VIEWS for end in (HALFWAY, len(LOG)) for line in lines(view, end))
    ROWS.write_text(text + "\n", encoding="utf-8")
