"""Rejected input that has become an event with today's code is appended once, and forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from control.crashing import Crashes, CrashingControl

from kappa import Event
from kappa.control.ingest import AsIs, ByFunction
from kappa.model.events import encode_event


class OrderPlaced(Event):
    user_id: str
    amount: Decimal


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDER = encode_event(OrderPlaced(user_id="ana", amount=Decimal(1), timestamp=NOON))


def orders(row: dict[str, Any]) -> Iterator[Event]:
    yield OrderPlaced(user_id=row["user_id"], amount=Decimal(row["amount"]), timestamp=NOON)


def test_rejected_rows_are_retried_with_todays_code(intake, tmp_path: Path) -> None:
    intake.file = tmp_path / "orders.csv"
    intake.mapping = ByFunction(lambda row: [OrderPlaced(user_id=row["userid"], amount=Decimal(1))], "shop:orders")
    intake.ingest(b"user_id,amount\n" + b"ana,1\n" * 400)
    assert set(intake.reasons()) == {"shop:orders raised KeyError: 'userid'"}

    intake.mapping = ByFunction(orders, "shop:orders")
    report = intake.retry()

    assert (report.accepted, report.appended, report.refused) == (400, 400, 0)
    assert (intake.values(), intake.rejected()) == ([ORDER] * 400, [])
    assert intake.retry().accepted == 0


def test_what_fails_again_stays(intake) -> None:
    intake.ingest(b"{}\n[]\n")
    report = intake.retry()

    assert (report.accepted, report.refused, len(intake.rejected())) == (0, 2, 2)
    assert [entry.reason for entry in report.reasons] == [
        "Object missing required field `type`",
        "Expected `object`, got `array`",
    ]


def test_an_unfinished_line_is_left_to_ingestion(intake) -> None:
    """Retried, it would be in the log twice: its source's position lies before it."""
    intake.mapping = ByFunction(lambda _: [], "shop:nothing")
    intake.ingest(b'{"user_id":"ana"')
    intake.mapping = AsIs()
    report = intake.retry()

    assert [entry.reason for entry in report.reasons] == [
        "it ends its source, and the next `kappa ingest` reads it again"
    ]


def test_a_line_that_was_kept_in_part_cannot_be_retried(intake) -> None:
    intake.ingest(b'{"note":"' + b"x" * 100_000 + b'"}\n')
    report = intake.retry()

    assert [entry.reason for entry in report.reasons] == ["only its first 65,536 of 100,011 bytes were kept"]


def test_a_retry_killed_before_it_forgets_adds_nothing_twice(intake) -> None:
    intake.mapping = ByFunction(lambda row: [row], "shop:wrong")
    intake.ingest(b'{"user_id":"ana","amount":"1"}\n' * 3)
    intake.mapping = ByFunction(orders, "shop:orders")
    control, intake.control = intake.control, CrashingControl(intake.control)
    with pytest.raises(Crashes):
        intake.retry()
    intake.control = control
    assert (len(intake.values()), len(intake.rejected())) == (3, 3)

    report = intake.retry()

    assert (report.appended, len(intake.values()), intake.rejected()) == (0, 3, [])
