"""The shop's views, tested with nothing running."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from generate import MISTAKES, event_lines
from shop import OrderPlaced, PagePopularity, PageView, ProfileUpdated, UserProfile, UserRegistered

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def order(amount: str, currency: str = "EUR") -> OrderPlaced:
    return OrderPlaced(
        event_id="1", user_id="ana", timestamp=NOON, order_id="o-1", amount=Decimal(amount), currency=currency
    )


def view_of(page: str, user_id: str, device: str = "desktop") -> PageView:
    return PageView(event_id="1", user_id=user_id, timestamp=NOON, page=page, device=device)


def test_orders_are_counted_and_added_up_to_the_cent() -> None:
    row = UserProfile.fold([order("19.90"), order("0.10"), order("0.20")])

    assert (row.user_id, row.total_orders, row.total_spent, row.last_order_at) == ("ana", 3, Decimal("20.20"), NOON)


def test_an_order_in_another_currency_counts_but_is_not_added() -> None:
    row = UserProfile.fold([order("10.00"), order("8.00", currency="GBP")])

    assert (row.total_orders, row.total_spent) == (2, Decimal("10.00"))


def test_the_profile_shows_the_latest_value_of_each_field() -> None:
    row = UserProfile.fold(
        [
            UserRegistered(event_id="1", user_id="ana", email="ana@example.com", country="ES"),
            ProfileUpdated(event_id="2", user_id="ana", field="city", value="Vigo"),
            ProfileUpdated(event_id="3", user_id="ana", field="name", value="Ana"),
            ProfileUpdated(event_id="4", user_id="ana", field="city", value="Lugo"),
        ]
    )

    assert (row.email, row.name, row.city) == ("ana@example.com", "Ana", "Lugo")


def test_a_page_counts_views_and_visitors_apart() -> None:
    row = PagePopularity.fold([view_of("/home", "ana"), view_of("/home", "ben", "mobile"), view_of("/home", "ana")])

    assert (row.page, row.views, row.mobile_views, row.visitors) == ("/home", 3, 1, 2)


def test_orders_of_every_schema_version_read_the_same() -> None:
    first = {"order_id": "o-1", "amount_cents": 1990}

    second = OrderPlaced.upcast_1(first)
    third = OrderPlaced.upcast_2(second)

    assert second == first | {"currency": "EUR"}
    assert third == second | {"amount": Decimal("19.90")}


def test_the_generator_makes_the_same_events_for_the_same_seed() -> None:
    first, again, other = (list(event_lines(events=500, keys=50, skew=1.1, seed=seed)) for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_every_generated_line_is_an_event_of_a_registered_customer() -> None:
    lines = [msgspec.json.decode(line) for line in event_lines(events=5_000, keys=200, skew=1.1, seed=7)]

    registered: set[str] = set()
    for line in lines:
        if line["type"] == "UserRegistered":
            registered.add(line["user_id"])
        assert line["user_id"] in registered
    assert len(registered) == 200
    assert len({line["event_id"] for line in lines}) == 5_000
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)


def test_mistakes_spoil_their_own_lines_only() -> None:
    good = list(event_lines(events=2_000, keys=50, skew=1.1, seed=7))
    mixed = list(event_lines(events=2_000, keys=50, skew=1.1, seed=7, bad=0.1))

    spoilt = [(before, after) for before, after in zip(good, mixed, strict=True) if before != after]
    assert 100 < len(spoilt) < 300
    assert all(after in {mistake(before) for mistake in MISTAKES} for before, after in spoilt)


def test_old_versions_change_orders_only() -> None:
    new = list(event_lines(events=2_000, keys=50, skew=1.1, seed=7))
    old = list(event_lines(events=2_000, keys=50, skew=1.1, seed=7, old=0.5))

    changed = [before for before, after in zip(new, old, strict=True) if before != after]
    assert changed
    assert all('"type":"OrderPlaced"' in line for line in changed)
