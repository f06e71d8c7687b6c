"""Reachable code: the examples are the functions of this file, and the project is the folder it lies in."""

from __future__ import annotations

import functools
import json
import types
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kappa.model.reachable import Reach, reach

HERE = Path(__file__).parent
TAX = Decimal("0.19")
RATES = {"EUR": Decimal(1), "USD": Decimal("0.9")}


def reached(*functions: Callable[..., Any], owner: type | None = None) -> set[str]:
    """Return the names of what the functions reach, themselves left out, without the module's name."""
    found = reach(functions, HERE, owner=owner)
    return {name.partition(".")[2] for name in list(found.definitions)[len(functions) :]}


def constants(function: Callable[..., Any], owner: type | None = None) -> dict[str, Any]:
    return {name.partition(".")[2]: value for name, value in reach([function], HERE, owner=owner).constants.items()}


def module(source: str, file: str, **names: Any) -> dict[str, Any]:
    """Return the names of a module that was never written to its file."""
    namespace = {"__name__": "shop", "__file__": file, **names}
    exec(compile(source, file, "exec"), namespace)  # noqa: S102 - the source is the test's own
    return namespace


def with_tax(amount: Decimal) -> Decimal:
    return amount + rounded(amount * TAX)


def rounded(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))


def even(number: int) -> bool:
    return number == 0 or odd(number - 1)


def odd(number: int) -> bool:
    return number != 0 and even(number - 1)


def test_a_helper_and_its_helper_are_reached() -> None:
    def handler(row: Any, event: Any) -> None:
        row.total += with_tax(event.amount)

    assert reached(handler) == {"with_tax", "rounded"}


def test_functions_that_call_each_other_are_reached_once() -> None:
    assert list(reach([even], HERE).definitions) == ["test_reachable.even", "test_reachable.odd"]


def test_functions_of_installed_packages_are_not_reached() -> None:
    def handler(row: Any, event: Any) -> None:
        row.text = json.dumps(event.payload)

    assert reached(handler) == set()


def test_a_helper_handed_on_without_being_called_is_reached() -> None:
    def handler(row: Any, event: Any) -> None:
        row.amounts = list(map(rounded, event.amounts))

    assert reached(handler) == {"rounded"}


def test_a_helper_from_the_enclosing_function_is_reached() -> None:
    def double(amount: int) -> int:
        return 2 * amount

    def handler(row: Any, event: Any) -> None:
        row.total += double(event.amount)

    assert reached(handler) == {"test_a_helper_from_the_enclosing_function_is_reached.<locals>.double"}


def test_helpers_in_tables_partials_and_defaults_are_reached() -> None:
    table = {"tax": [with_tax]}
    is_even = functools.partial(even)

    def handler(row: Any, event: Any, scale: Any = rounded) -> None:
        row.total = table[event.kind][0](scale(event.amount)) if is_even(event.n) else 0

    assert reached(handler) == {"with_tax", "rounded", "even", "odd"}


def test_a_cached_helper_is_reached_through_its_cache() -> None:
    cached = functools.lru_cache(with_tax)

    def handler(row: Any, event: Any) -> None:
        row.total = cached(event.amount)

    assert reached(handler) == {"with_tax", "rounded"}


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*map(rounded, arguments))

    return wrapper


def test_a_decorated_function_reaches_its_decorator_and_what_it_wraps() -> None:
    @logged
    def scaled(amount: Decimal) -> bool:
        return even(int(amount))

    assert {"logged", "rounded", "even", "odd"} < reached(scaled)


def test_the_arguments_of_foreign_decorators_are_not_reached() -> None:
    """`@on(OrderPlaced)` does not make a handler depend on every method of the event."""

    @pytest.mark.parametrize("value", [with_tax])
    def handler(row: Any, event: Any) -> None:
        row.total = 0

    assert reached(handler) == set()


def test_a_lambda_is_told_from_its_neighbours_on_the_line() -> None:
    first, second = (lambda amount: rounded(amount)), (lambda amount: even(amount))  # noqa: PLW0108

    assert reached(first) == {"rounded"}
    assert reached(second) == {"even", "odd"}


@dataclass
class Address:
    city: str
    zip_code: str = ""

    @property
    def region(self) -> str:
        return region_of(self.zip_code)

    @classmethod
    def from_form(cls, text: str) -> Address:
        return cls(trimmed(text))


@dataclass
class Registered:
    address: Address
    before: list[Address]

    def domain(self) -> str:
        return trimmed(self.address.city)


def region_of(zip_code: str) -> str:
    return zip_code[:2]


def trimmed(text: str) -> str:
    return text.strip()


class Profile:
    LIMIT = 3

    def handler(self, event: Registered) -> None:
        self.bump()
        self.label = self.mark

    def bump(self) -> None:
        self.__count()

    def __count(self) -> None:
        self.count = rounded(Decimal(1))

    @property
    def mark(self) -> str:
        return self.trim(str(self.LIMIT))

    @staticmethod
    def trim(text: str) -> str:
        return trimmed(text)

    def unused(self) -> bool:
        return even(1)


class VipProfile(Profile):
    def bump(self) -> None:
        super().bump()
        with_tax(Decimal(1))


def test_methods_of_self_are_reached_and_others_are_not() -> None:
    methods = {"Profile.bump", "Profile.__count", "Profile.mark", "Profile.trim"}
    assert reached(Profile.handler, owner=Profile) == methods | {"rounded", "trimmed"}
    assert constants(Profile.handler, owner=Profile)["Profile.LIMIT"] == 3


def test_the_owner_decides_on_overridden_methods_and_super_goes_on() -> None:
    found = reached(VipProfile.handler, owner=VipProfile)

    assert {"VipProfile.bump", "Profile.bump", "Profile.__count", "with_tax"} < found


def test_a_method_of_an_annotated_argument_is_reached() -> None:
    def handler(row: Any, event: Registered) -> None:
        row.domain = event.domain()

    assert "Registered.domain" in reached(handler)
    assert "trimmed" in reached(handler)


def test_the_type_of_a_field_that_is_read_is_reached_but_not_its_class_methods() -> None:
    def handler(row: Any, event: Registered) -> None:
        row.region = event.address.region

    assert reached(handler) == {"Address", "Address.region", "region_of"}


def test_the_element_type_of_a_list_field_is_reached() -> None:
    def handler(row: Any, event: Registered | None) -> None:
        row.regions = [address.region for address in event.before] if event else []

    assert "Address.region" in reached(handler)


def test_a_class_method_is_reached_where_it_is_named() -> None:
    def handler(row: Any, event: Any) -> None:
        row.city = Address.from_form(event.text).city

    assert {"Address", "Address.from_form", "trimmed"} < reached(handler)


def test_a_bound_class_method_is_followed_like_any_other() -> None:
    assert "trimmed" in reached(Address.from_form)


class Scale:
    def __init__(self, step: Callable[[Decimal], Decimal]) -> None:
        self.step = step

    def apply(self, amount: Decimal) -> Decimal:
        return self.step(amount)


SCALE = Scale(with_tax)


def test_an_object_at_module_level_is_reached_with_its_class_and_what_it_holds() -> None:
    def handler(row: Any, event: Any) -> None:
        row.total = SCALE.apply(event.amount)

    assert {"Scale", "Scale.apply", "with_tax"} < reached(handler)


def test_a_helper_is_reached_through_a_module_of_the_project(tmp_path: Path) -> None:
    prices = types.ModuleType("prices")
    vars(prices).update(module("def net(amount): return amount - TAX", str(tmp_path / "prices.py"), TAX=1))
    (tmp_path / "prices.py").write_text("def net(amount): return amount - TAX")
    source = "def handler(row, event): row.total += prices.net(event.amount) + prices.TAX"
    (tmp_path / "shop.py").write_text(source)
    shop = module(source, str(tmp_path / "shop.py"), prices=prices)

    found = reach([shop["handler"]], tmp_path)

    assert list(found.definitions) == ["shop.handler", "prices.net"]
    assert found.constants == {"prices.TAX": 1}


def test_values_read_from_modules_closures_and_defaults_are_constants() -> None:
    factor = 3

    def handler(row: Any, event: Any, *, limit: int = 7) -> None:
        row.total += RATES[event.currency] * TAX * min(factor, limit)

    within = "test_values_read_from_modules_closures_and_defaults_are_constants.<locals>.handler"
    assert constants(handler) == {"RATES": RATES, "TAX": TAX, f"{within}.factor": 3, f"{within}.limit": 7}


def test_a_local_name_hides_a_helper_of_the_same_name() -> None:
    def handler(row: Any, rounded: Any) -> None:
        row.total = rounded(1)

    assert reached(handler) == set()


def test_a_function_without_source_reaches_nothing_and_raises_nothing() -> None:
    typed_in = module("def handler(row, event): row.total = rounded(event.amount)", "<stdin>", rounded=rounded)

    assert list(reach([typed_in["handler"]], HERE).definitions) == ["shop.handler"]


def test_things_that_are_no_functions_are_taken_without_complaint() -> None:
    assert reach([print, max, functools.partial(int, base=2)], HERE) == Reach({}, {})


def test_a_cell_that_is_still_empty_is_unknown() -> None:
    def handler(row: Any, event: Any) -> None:
        row.total = later(event)

    found = reached(handler)

    def later(event: Any) -> int:
        return 0

    assert found == set()


def test_a_function_is_found_in_a_zipped_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("zipped_shop/__init__.py", "")
        archive.writestr("zipped_shop/helpers.py", "def double(n): return 2 * n")
        archive.writestr(
            "zipped_shop/views.py",
            "def handler(row, event):\n    from . import helpers\n    row.n = helpers.double(event.n)",
        )
    monkeypatch.syspath_prepend(str(bundle))
    import zipped_shop.views  # noqa: PLC0415 - it exists only now

    found = reach([zipped_shop.views.handler], bundle)

    assert list(found.definitions) == ["zipped_shop.views.handler", "zipped_shop.helpers.double"]


def test_packages_installed_below_the_project_are_not_the_users_own(tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "lib" / "site-packages" / "foreign.py"
    foreign = module("def helper(): return 1", str(installed))
    shop = module("def handler(row, event): return helper()", str(tmp_path / "shop.py"), helper=foreign["helper"])

    assert list(reach([shop["handler"]], tmp_path).definitions) == ["shop.handler"]
