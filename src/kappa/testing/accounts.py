"""A project for conformance suites: one view, with everything that makes folding hard in its log.

Old schema versions, unknown types, records that are no JSON, a handler that raises after it changed the row.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from kappa import Event, View, average, count, distinct, latest, on, total
from kappa.model.records import NewRecord


class Deposited(Event, version=2):
    """Money came in."""

    account: str
    amount: Decimal
    note: str = ""

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        """Version 1 counted cents."""
        return {**old, "amount": Decimal(old["cents"]) / 100}


class Renamed(Event):
    """The account got another name."""

    account: str
    name: str


class Account(View, key="account"):
    """An account, by every kind of fold that matters here."""

    deposits: int = count(Deposited)
    balance: Decimal = total(Deposited.amount)
    mean: Decimal | None = average(Deposited.amount)
    notes: int = distinct(Deposited.note)
    last_at: datetime | None = latest(Deposited.timestamp)
    names: list[str] = []  # noqa: RUF012 - a view's default is copied for each row

    @on(Renamed)
    def renamed(self, event: Renamed) -> None:
        """Append first and raise then: the row must not keep what it appended."""
        self.names.append(event.name)
        if event.name == "boom":
            raise ValueError("no such name")


EVENTS = (Deposited, Renamed)
START = datetime(2026, 1, 1, tzinfo=UTC)


def value(kind: int, account: str, number: int) -> bytes:
    """Return the bytes of one record; `kind` chooses among good ones of several versions and bad ones."""
    at = (START + timedelta(seconds=number)).isoformat()
    match kind:
        case 0 | 1 | 2:
            text = f'"_schema_version":2,"amount":"{number}.25","note":"n{number % 3}"'
        case 3:
            text = f'"cents":{number}'
        case 4:
            return f'{{"type":"Renamed","account":"{account}","timestamp":"{at}","name":"name {number}"}}'.encode()
        case 5:
            return f'{{"type":"Renamed","account":"{account}","timestamp":"{at}","name":"boom"}}'.encode()
        case 6:
            return f'{{"type":"Unheard","account":"{account}","timestamp":"{at}"}}'.encode()
        case 7:
            return b'{"type":"Deposited","amount":'
        case _:
            text = '"_schema_version":2,"amount":"many"'
    return f'{{"type":"Deposited","account":"{account}","timestamp":"{at}",{text}}}'.encode()


def record(kind: int, account: str, number: int) -> NewRecord:
    """Return a record with the key and event time that a producer gives it."""
    at_us = (int(START.timestamp()) + number) * 1_000_000
    return NewRecord(account.encode(), value(kind, account, number), at_us)
