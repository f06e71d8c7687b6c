"""A version runs what was deployed, whatever happens to the working tree, to the disk or in the same interpreter."""

from __future__ import annotations

import enum
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from kappa.adapters.sqlite.control import SqliteControl
from kappa.control import bundles as limits
from kappa.control.bundles import Bundles, pack
from kappa.control.fingerprints import fingerprint_parts, fingerprints
from kappa.control.project import load_project
from kappa.control.versions import LogLayout, deployment_of
from kappa.errors import BundleDamaged, BundleNotFound, ProjectError

SHOP = """
from kappa import Event, View, on
import rates

class Paid(Event):
    user: str
    amount: int

class Customer(View, key="user"):
    euros: int = 0

    @on(Paid)
    def paid(self, event):
        self.euros += rates.in_euro(event.amount)
"""
RATES = "FACTOR = 2\n\ndef in_euro(amount):\n    return amount * FACTOR\n"
LAYOUT = LogLayout("user", 4, group_count=1)

Write = Callable[..., Path]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[SqliteControl]:
    opened = SqliteControl(tmp_path / "control.db")
    yield opened
    opened.close()


@pytest.fixture
def bundles(tmp_path: Path, control: SqliteControl) -> Bundles:
    return Bundles(tmp_path / "bundles", control)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a project's modules, those of packages named `a/b`."""

    def write_files(packages: Mapping[str, str] | None = None, **modules: str) -> Path:
        root = tmp_path / "project"
        for name, text in {**modules, **(packages or {})}.items():
            file = root / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return root

    return write_files


def euros(view: type, *amounts: int) -> int:
    """Fold payments with the view of a bundle."""
    row = view.fold([{"type": "Paid", "user": "ana", "amount": amount} for amount in amounts])
    return row.euros


def names_in(bundles: Bundles, root: Path, module: str = "shop") -> Mapping[str, typing.Any]:
    """Import a project's module from a bundle and return its names."""
    file = str(bundles.load(bundles.store(root, [module])).root / f"{module}.py")
    return next(vars(each) for each in sys.modules.values() if getattr(each, "__file__", None) == file)


def test_a_bundle_runs_the_code_that_was_stored_whatever_becomes_of_the_working_tree(
    bundles: Bundles, write: Write
) -> None:
    root = write(shop=SHOP, rates=RATES)
    bundle_id = bundles.store(root, ["shop"])

    write(shop="broken(", rates="also broken(")

    assert euros(bundles.load(bundle_id).project.views["customer"], 1, 10) == 22


def test_two_bundles_of_one_project_never_meet(bundles: Bundles, write: Write) -> None:
    first = bundles.store(write(shop=SHOP, rates=RATES), ["shop"])
    second = bundles.store(write(rates=RATES.replace("2", "3")), ["shop"])

    views = [bundles.load(bundle_id).project.views["customer"] for bundle_id in (first, second)]

    assert [euros(view, 10) for view in views] == [20, 30]
    assert "rates" not in sys.modules
    assert "shop" not in sys.modules


def test_equal_files_give_equal_bytes(write: Write, tmp_path: Path) -> None:
    root = write(shop=SHOP, rates=RATES)
    first = pack(root, ["shop"])
    (root / "shop.py").touch()
    (root / "notes.txt").write_text("no code")

    assert pack(root, ["shop"]) == first
    assert pack(root, ["shop", "rates"]) != first


@pytest.mark.parametrize(
    "folder", [".git", ".venv", "__pycache__", "node_modules", "environment", "some-data", "state/bundles"]
)
def test_what_is_not_the_project_s_own_code_stays_out(write: Write, folder: str) -> None:
    root = write(shop=SHOP, rates=RATES)
    (root / "environment").mkdir()
    (root / "environment" / "pyvenv.cfg").touch()
    without = pack(root, ["shop"], without=root / "state" / "bundles")

    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "extra.py").touch()

    assert pack(root, ["shop"], without=root / "state" / "bundles") == without


def test_a_project_that_is_too_large_is_refused_and_its_biggest_folder_named(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write({"vendored/big": "x = 1\n" * 1_000}, shop=SHOP, rates=RATES)

    monkeypatch.setattr(limits, "FILES_MAX", 2)
    with pytest.raises(ProjectError, match="more than 2 Python files"):
        pack(root, ["shop"])
    monkeypatch.setattr(limits, "FILES_MAX", 5_000)
    monkeypatch.setattr(limits, "BYTES_MAX", 1_000)
    with pytest.raises(ProjectError, match="the biggest folder is 'vendored'"):
        pack(root, ["shop"])


@pytest.mark.parametrize(
    "statement",
    [
        "import goods.fruit\nfound = goods.fruit.NAME",
        "import goods.fruit as fruit\nfound = fruit.NAME",
        "from goods import fruit\nfound = fruit.NAME",
        "from goods.fruit import NAME as found",
        "from goods.fruit import *\nfound = NAME",
        "import goods\nfound = goods.relative",
        "from goods.deep.down import found",
        "import plain.inside as inside\nfound = inside.NAME",
        "def find():\n    from goods import fruit\n    return fruit.NAME\nfound = find()",
        "def find():\n    import goods.fruit\n    return goods.fruit.NAME\nfound = find()",
        "found = __import__('goods.fruit').fruit.NAME",
        "exec('from goods.fruit import NAME as found')",
        "from __future__ import annotations\nfrom goods.fruit import NAME as found",
    ],
)
def test_every_way_to_import_a_module_of_the_project_ends_in_the_bundle(
    bundles: Bundles, write: Write, statement: str
) -> None:
    packages = {
        "goods/__init__": "from . import fruit\nfrom .fruit import NAME as relative",
        "goods/fruit": "NAME = __name__",
        "goods/deep/__init__": "",
        "goods/deep/down": "from ..fruit import NAME\nfrom goods import fruit\nfound = fruit.NAME",
        "plain/inside": "from goods.fruit import NAME",
    }
    root = write(packages, shop=statement)

    found = names_in(bundles, root)["found"]

    assert found.startswith("kappa_bundle_")
    assert found.endswith(".goods.fruit")


def test_an_import_inside_a_function_is_led_to_the_bundle_whenever_it_runs(bundles: Bundles, write: Write) -> None:
    shop = SHOP.replace("import rates\n", "").replace("self.euros", "import rates\n        self.euros")
    bundle_id = bundles.store(write(shop=shop, rates=RATES), ["shop"])
    view = bundles.load(bundle_id).project.views["customer"]

    assert euros(view, 10) == 20


def test_modules_that_import_each_other_do(bundles: Bundles, write: Write) -> None:
    root = write(
        shop="import one\nfound = one.both()",
        one="import two\ndef both():\n    return two.other()\ndef name():\n    return 'one'",
        two="import one\ndef other():\n    return one.name()",
    )

    assert names_in(bundles, root)["found"] == "one"


def test_classes_know_their_own_names(bundles: Bundles, write: Write) -> None:
    """Dataclasses, enumerations and type hints look into the module that a class says it comes from."""
    shop = """
from __future__ import annotations
import dataclasses, enum, typing
from decimal import Decimal
from kappa import Event, View, latest
import goods

class Kind(enum.Enum):
    GOOD = "good"

@dataclasses.dataclass
class Money:
    amount: Decimal
    kind: Kind
    fruit: goods.Fruit
    default: typing.ClassVar[int] = 1

class Paid(Event):
    user: str
    kind: Kind
    fruit: goods.Fruit

class Customer(View, key="user"):
    kind: Kind | None = latest(Paid.kind)
    fruit: goods.Fruit | None = latest(Paid.fruit)
"""
    names = names_in(bundles, write(shop=shop, goods="import enum\nclass Fruit(enum.Enum):\n    FIG = 'fig'"))

    assert typing.get_type_hints(names["Money"])["kind"] is names["Kind"]
    assert typing.get_type_hints(names["Money"])["fruit"] is names["goods"].Fruit
    assert [field.name for field in names["dataclasses"].fields(names["Money"])] == ["amount", "kind", "fruit"]
    assert issubclass(names["Kind"], enum.Enum)
    row = names["Customer"].fold([{"type": "Paid", "user": "ana", "kind": "good", "fruit": "fig"}])
    assert (row.kind, row.fruit) == (names["Kind"].GOOD, names["goods"].Fruit.FIG)


def test_a_module_of_the_project_hides_an_installed_one_and_a_mere_folder_does_not(
    bundles: Bundles, write: Write
) -> None:
    shop = "import colorsys, json\nfrom kappa import View\nfound = colorsys.__name__, json.__name__"
    root = write({"json/tool": "", "kappa/__init__": ""}, shop=shop, colorsys="")

    own, installed = names_in(bundles, root)["found"]

    assert own.endswith(".colorsys")
    assert own != "colorsys"
    assert installed == "json"


def test_no_bytecode_is_written_or_read(bundles: Bundles, write: Write) -> None:
    root = write(shop=SHOP, rates=RATES)
    bundle_id = bundles.store(root, ["shop"])

    assert list(bundles.load(bundle_id).root.rglob("*.pyc")) == []


def test_a_module_may_be_an_installed_package(bundles: Bundles, write: Write) -> None:
    bundle_id = bundles.store(write(other=""), ["kappa.testing.accounts", "other"])

    assert list(bundles.load(bundle_id).project.views) == ["account"]


@pytest.mark.parametrize(
    ("shop", "message", "where"),
    [
        ("import nowhere", "module 'shop' needs 'nowhere', which is not installed", "shop.py:1"),
        ("import rates.gone", "module 'shop' needs 'rates.gone', which is not installed", "shop.py:1"),
        ("x = 1\ny = x /", "module 'shop' cannot be imported: SyntaxError: invalid syntax", "shop.py:2"),
        ("\nopen('/no/such/table.csv')", "module 'shop' cannot be imported: FileNotFoundError", "shop.py:2"),
    ],
)
def test_what_cannot_be_imported_from_a_bundle_is_said_with_its_place(
    bundles: Bundles, write: Write, shop: str, message: str, where: str
) -> None:
    with pytest.raises(ProjectError) as error:
        bundles.store(write(shop=shop, rates=RATES), ["shop"])

    assert error.value.message.startswith(message)
    place = error.value.where or ""
    assert place.endswith(where)
    assert not place or str(write().parent / "bundles") not in place, "the author's file, and not the copy"


def test_a_module_that_the_project_has_not_is_said(bundles: Bundles, write: Write) -> None:
    with pytest.raises(ProjectError, match="there is no module 'store'"):
        bundles.store(write(shop=SHOP, rates=RATES), ["store"])


def test_files_that_were_altered_on_disk_are_mended(bundles: Bundles, write: Write) -> None:
    bundle_id = bundles.store(write(shop=SHOP, rates=RATES), ["shop"])
    unpacked = bundles.load(bundle_id).root
    (unpacked / "rates.py").write_text("FACTOR = 1000")
    (unpacked / "shop.py").unlink()
    (unpacked / "extra.py").touch()

    bundles.load(bundle_id)

    assert (unpacked / "rates.py").read_text() == RATES
    assert sorted(file.name for file in unpacked.iterdir()) == ["rates.py", "shop.py"]


def test_a_bundle_that_was_altered_where_it_is_kept_is_refused(
    bundles: Bundles, write: Write, control: SqliteControl
) -> None:
    bundle_id = bundles.store(write(shop=SHOP, rates=RATES), ["shop"])

    class Altered:
        def bundle(self, bundle_id: str) -> bytes:
            return control.bundle(bundle_id).replace(b"FACTOR = 2", b"FACTOR = 9")

    with pytest.raises(BundleDamaged, match="its content is not what was stored"):
        Bundles(write().parent / "bundles", Altered()).load(bundle_id)
    with pytest.raises(BundleNotFound):
        bundles.load("0" * 64)


def test_a_bundle_that_was_altered_where_it_is_kept_is_mended_by_whoever_stores_its_code_again(
    bundles: Bundles, write: Write, control: SqliteControl
) -> None:
    bundle_id = bundles.store(write(shop=SHOP, rates=RATES), ["shop"])
    with control._transaction() as connection:
        connection.execute("UPDATE bundles SET content = zeroblob(9)")
    with pytest.raises(BundleDamaged):
        bundles.load(bundle_id)

    assert bundles.store(write(), ["shop"]) == bundle_id

    assert bundles.load(bundle_id).project.views


PLAIN = {"shop": SHOP, "rates": RATES}
IN_HANDLER = SHOP.replace("import rates\n", "").replace("self.euros", "import rates\n        self.euros")
IN_PACKAGE = SHOP.replace("import rates", "from goods import rates")
OF_TYPES = """
import enum
import workshop
from workshop import Kind
import one, two

class Own(enum.Enum):
    A = 1

class Customer(View, key="user"):
    kind: Kind | None = None
    kinds: list[workshop.Kind] = []
    own: "Own | None" = None
    first: one.Same | None = None
    second: two.Same | None = None
"""
SAME = "import msgspec\nclass Same(msgspec.Struct):\n    field: int"
CODE = [
    PLAIN,
    {"shop": IN_HANDLER, "rates": RATES},
    {"shop": IN_PACKAGE, "goods/rates": RATES},
    {
        "shop": SHOP.replace('class Customer(View, key="user"):\n', OF_TYPES),
        "rates": RATES,
        "workshop": "import enum\nclass Kind(enum.Enum):\n    GOOD = 1",
        "one": SAME,
        "two": SAME.replace("field", "other"),
    },
]


@pytest.mark.parametrize("modules", CODE, ids=["plain", "import in a handler", "package", "types"])
def test_a_bundle_has_the_fingerprint_of_its_working_tree(
    bundles: Bundles, write: Write, modules: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(modules)
    loaded = bundles.load(bundles.store(root, ["shop"]))
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    working_tree = load_project(root, ["shop"])
    try:
        expected = fingerprint_parts(working_tree.views["customer"], root)
    finally:
        for name in ("shop", "rates", "goods", "goods.rates", "workshop", "one", "two"):
            sys.modules.pop(name, None)

    assert fingerprint_parts(loaded.project.views["customer"], loaded.root) == expected
    assert any(name.endswith("rates.in_euro") for name in expected)


def test_code_is_what_was_deployed_or_it_is_refused(bundles: Bundles, write: Write) -> None:
    """A bundle is imported by its content, but what it imports may lie outside."""
    loaded = bundles.load(bundle_id := bundles.store(write(shop=SHOP, rates=RATES), ["shop"]))
    view = loaded.project.views["customer"]
    deployed = deployment_of(view, 1, parts=fingerprint_parts(view, loaded.root), bundle=bundle_id, layout=LAYOUT)

    assert bundles.code(deployed).view is view
    assert deployed.fingerprint == fingerprints(loaded.project, loaded.root)["customer"]

    other = deployment_of(view, 1, parts={**deployed.parts, "key": "x"}, bundle=bundle_id, layout=LAYOUT)
    with pytest.raises(BundleDamaged, match="what it does for customer is not what was deployed: key"):
        bundles.code(other)
    other = deployment_of(view, 1, parts={**deployed.parts, "package numpy": "1.26"}, bundle=bundle_id, layout=LAYOUT)
    with pytest.raises(BundleDamaged, match=r"deployed with numpy 1\.26, and this environment has no numpy"):
        bundles.code(other)
