"""Write the project that `kappa init` starts: small, complete, and right to build on. It overwrites nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kappa.errors import InputError

_SETTINGS = """\
[project]
name = "{name}"
modules = ["shop"]          # Python files here; their events and views belong to the project

[log]
key = "user_id"             # what events are about: those of one user keep their order
partitions = 4              # fixed when the log is created
"""

_MODULE = '''\
"""Events of a shop, and what it knows of each user."""

from datetime import datetime
from decimal import Decimal

from kappa import Event, View, count, latest, on, total


class OrderPlaced(Event):
    user_id: str
    order_id: str
    amount: Decimal


class EmailChanged(Event):
    user_id: str
    email: str


class UserProfile(View, key="user_id"):
    """One row per user, folded from the events above."""

    email: str | None = None
    orders: int = count(OrderPlaced)
    spent: Decimal = total(OrderPlaced.amount)
    last_order_at: datetime | None = latest(OrderPlaced.timestamp)

    @on(EmailChanged)
    def email_changed(self, event: EmailChanged) -> None:
        self.email = event.email.lower()
'''

_TEST = '''\
"""A view is tested with nothing running: pytest"""

from decimal import Decimal

from shop import EmailChanged, OrderPlaced, UserProfile


def test_a_profile_sums_orders_and_keeps_the_last_email() -> None:
    profile = UserProfile.fold(
        [
            OrderPlaced(user_id="ana", order_id="o-1", amount=Decimal("19.90")),
            EmailChanged(user_id="ana", email="Ana@example.org"),
            OrderPlaced(user_id="ana", order_id="o-2", amount=Decimal("5.10")),
        ]
    )

    assert (profile.orders, profile.spent, profile.email) == (2, Decimal("25.00"), "ana@example.org")
'''

_EVENTS = """\
{"type":"EmailChanged","user_id":"ana","timestamp":"2026-03-01T08:00:00Z","email":"Ana@example.org"}
{"type":"OrderPlaced","user_id":"ana","timestamp":"2026-03-01T08:05:00Z","order_id":"o-1","amount":"19.90"}
{"type":"OrderPlaced","user_id":"bob","timestamp":"2026-03-01T09:30:00Z","order_id":"o-2","amount":"120.00"}
{"type":"EmailChanged","user_id":"bob","timestamp":"2026-03-01T09:31:00Z","email":"bob@example.org"}
{"type":"OrderPlaced","user_id":"cleo","timestamp":"2026-03-02T17:00:00Z","order_id":"o-3","amount":"7.25"}
{"type":"OrderPlaced","user_id":"ana","timestamp":"2026-03-02T18:45:00Z","order_id":"o-4","amount":"5.10"}
{"type":"OrderPlaced","user_id":"cleo","timestamp":"2026-03-03T11:20:00Z","order_id":"o-5","amount":"64.00"}
{"type":"EmailChanged","user_id":"bob","timestamp":"2026-03-03T12:00:00Z","email":"Robert@example.org"}
"""

_IGNORED = """\
# The log and the views' rows, and a stack of `kappa stack`.
.kappa/
.kappa-stack/
__pycache__/
"""

_FILES = {
    "kappa.toml": _SETTINGS,
    "shop.py": _MODULE,
    "test_shop.py": _TEST,
    "events.ndjson": _EVENTS,
    ".gitignore": _IGNORED,
}


def write_starter(folder: Path) -> Sequence[Path]:
    """Write a project's first files into a folder, created if need be, and return them.

    Raises:
        InputError: One of them is there already, or the folder cannot be written. Nothing was written over.
    """
    name = folder.resolve().name or "shop"
    files = {folder / file: text for file, text in _FILES.items()}
    for file in files:
        if file.exists():
            raise InputError(
                f"'{file}' is there already, and kappa init overwrites nothing",
                next_step="choose another folder: kappa init DIR",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            # Only the settings have a placeholder; events and code are full of braces.
            file.write_text(text.replace("{name}", name) if text is _SETTINGS else text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write '{error.filename or folder}': {error.strerror}") from error
    return tuple(files)
