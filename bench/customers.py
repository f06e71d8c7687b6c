"""The view that `bench.pipeline` deploys: that of the other benchmarks, by folds."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from shop import OrderPlaced, PageView, ProfileUpdated, UserRegistered

from kappa import View, count, latest, total


class Customer(View, key="user_id"):
    """One row per customer."""

    email: str | None = latest(UserRegistered.email)
    name: str | None = latest(ProfileUpdated.value, where=ProfileUpdated.field == "name")
    city: str | None = latest(ProfileUpdated.value, where=ProfileUpdated.field == "city")
    total_orders: int = count(OrderPlaced)
    total_spent: Decimal = total(OrderPlaced.amount, where=OrderPlaced.currency == "EUR")
    last_order_at: datetime | None = latest(OrderPlaced.timestamp)
    page_views: int = count(PageView)
