"""The events of a web shop, and two views of them: one row per customer, one row per page."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from kappa import Event, View, count, distinct, latest, on, total


class UserRegistered(Event):
    """Somebody became a customer. The address is the account's name and stays what it is."""

    event_id: str
    user_id: str
    email: str
    country: str


class ProfileUpdated(Event):
    """A customer changed one field of the profile."""

    event_id: str
    user_id: str
    field: Literal["name", "city"]
    value: str


class OrderPlaced(Event, version=3):
    """A customer ordered something. Returns and refunds are events of their own, not of this shop yet."""

    event_id: str
    user_id: str
    order_id: str
    amount: Decimal
    currency: str

    @classmethod
    def upcast_1(cls, old: dict[str, Any]) -> dict[str, Any]:
        """Name the currency: version 1 dates from when the shop sold in euros only."""
        return {**old, "currency": "EUR"}

    @classmethod
    def upcast_2(cls, old: dict[str, Any]) -> dict[str, Any]:
        """Turn cents into an amount: version 2 could not say what has no hundredths, such as yen."""
        return {**old, "amount": Decimal(old["amount_cents"]) / 100}


class PageView(Event):
    """A customer looked at a page."""

    event_id: str
    user_id: str
    page: str
    device: Literal["desktop", "mobile"]


class UserProfile(View, key="user_id"):
    """Who a customer is, and what they have done in the shop."""

    email: str | None = latest(UserRegistered.email)
    name: str | None = None
    city: str | None = None
    total_orders: int = count(OrderPlaced)
    # Euros. Orders in other currencies are counted, but not added to it.
    total_spent: Decimal = total(OrderPlaced.amount, where=OrderPlaced.currency == "EUR")
    last_order_at: datetime | None = latest(OrderPlaced.timestamp)
    page_views: int = count(PageView)

    @on(ProfileUpdated)
    def profile_updated(self, event: ProfileUpdated) -> None:
        """Overwrite the one field: the event's type allows no other."""
        setattr(self, event.field, event.value)


class PagePopularity(View, key="page"):
    """How often a page is seen, and by how many. Its key is not the log's, so it reads a log of its own."""

    views: int = count(PageView)
    mobile_views: int = count(PageView, where=PageView.device == "mobile")
    visitors: int = distinct(PageView.user_id)
    last_viewed_at: datetime | None = latest(PageView.timestamp)
