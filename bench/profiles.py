"""The yardstick's view twice more: once with folds alone, once with handlers alone. All three give the same rows."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from shop import OrderPlaced, PageView, ProfileUpdated, UserRegistered

from kappa import View, count, latest, on, total

EVENTS = (OrderPlaced, PageView, ProfileUpdated, UserRegistered)


class ByFolds(View, key="user_id"):
    """Everything declared."""

    email: str | None = latest(UserRegistered.email)
    name: str | None = latest(ProfileUpdated.value, where=ProfileUpdated.field == "name")
    city: str | None = latest(ProfileUpdated.value, where=ProfileUpdated.field == "city")
    total_orders: int = count(OrderPlaced)
    total_spent: Decimal = total(OrderPlaced.amount, where=OrderPlaced.currency == "EUR")
    last_order_at: datetime | None = latest(OrderPlaced.timestamp)
    page_views: int = count(PageView)


class ByHandlers(View, key="user_id"):
    """Everything by hand."""

    email: str | None = None
    name: str | None = None
    city: str | None = None
    total_orders: int = 0
    total_spent: Decimal = Decimal(0)
    last_order_at: datetime | None = None
    page_views: int = 0

    @on(UserRegistered)
    def registered(self, event: UserRegistered) -> None:
        """Keep the address."""
        self.email = event.email

    @on(ProfileUpdated)
    def profile_updated(self, event: ProfileUpdated) -> None:
        """Keep the field's new value."""
        if event.field == "name":
            self.name = event.value
        else:
            self.city = event.value

    @on(OrderPlaced)
    def order_placed(self, event: OrderPlaced) -> None:
        """Count the order, and add it up if it is in euros."""
        self.total_orders += 1
        if event.currency == "EUR":
            self.total_spent += event.amount
        self.last_order_at = event.timestamp

    @on(PageView)
    def page_viewed(self, _event: PageView) -> None:
        """Count the view."""
        self.page_views += 1
