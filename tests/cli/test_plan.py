"""`kappa plan` and `kappa replay --plan-only`: what people and programs read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kappa.planning.plans import PLAN_FORMAT, Plan, plan_schema

DOCS = Path(__file__).parents[2] / "docs"


def change(project: Path, old: str, new: str) -> None:
    code = (project / "shop.py").read_text()
    assert old in code, old
    (project / "shop.py").write_text(code.replace(old, new))


@pytest.fixture
def changed(folded: Path) -> Path:
    """Orders of up to ten euros count no more."""
    change(folded, "total(OrderPlaced.amount)", "total(OrderPlaced.amount, where=OrderPlaced.amount > 10)")
    return folded


def flaws(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "$") -> list[str]:
    """Return where a document does not keep a JSON schema, of what the schema of a plan uses."""
    if "$ref" in schema:
        return flaws(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, path)
    if "anyOf" in schema:
        tried = [flaws(value, each, root, path) for each in schema["anyOf"]]
        return [] if [] in tried else [f"{path}: none of {len(tried)} alternatives", *min(tried, key=len)]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: {value!r} is none of {schema['enum']}"]
    types = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "null": type(None)}
    types |= {"object": dict, "array": list}
    if not isinstance(value, types[schema["type"]]):
        return [f"{path}: {value!r} is no {schema['type']}"]
    return flaws_inside(value, schema, root, path)


def flaws_inside(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str) -> list[str]:
    if isinstance(value, list):
        return [flaw for n, each in enumerate(value) for flaw in flaws(each, schema["items"], root, f"{path}[{n}]")]
    if not isinstance(value, dict):
        return []
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {"enum": []})
    found = [f"{path}: {name} is missing" for name in schema.get("required", []) if name not in value]
    for name, inner in value.items():
        found += flaws(inner, known.get(name, others), root, f"{path}.{name}")
    return found


def test_the_schema_in_the_docs_is_that_of_a_plan() -> None:
    how = "from kappa.planning.plans import plan_schema; print(plan_schema(), end='') > docs/plan.schema.json"
    assert (DOCS / "plan.schema.json").read_text() == plan_schema(), how


@pytest.mark.parametrize(
    "options", [[], ["--strategy", "parallel"], ["--strategy", "incremental", "--shares", "5,100"]]
)
def test_a_plan_in_json_keeps_its_schema(kappa, changed: Path, options: list[str]) -> None:
    typed = kappa("plan", *options, "--json")

    schema = msgspec.json.decode((DOCS / "plan.schema.json").read_bytes())
    assert flaws(typed.json, schema, schema) == []
    plan = msgspec.json.decode(typed.out, type=Plan)
    assert (plan.format, plan.views[0].candidate) == (PLAN_FORMAT, 2)


def test_the_schema_refuses_what_is_no_plan(kappa, changed: Path) -> None:
    document = kappa("plan", "--json").json
    document["steps"][1]["version"] = "2"
    del document["views"][0]["kind"]

    schema = msgspec.json.decode(plan_schema())
    found = " ".join(flaws(document, schema, schema))
    assert "$.views[0]: kind is missing" in found
    assert "$.steps[1]" in found


def test_the_example_in_the_docs_is_what_kappa_plan_says(kappa, changed: Path) -> None:
    (example,) = re.findall(r"\$ kappa plan\n(.*?)```", (DOCS / "plans.md").read_text(), re.DOTALL)

    def timeless(text: str) -> list[str]:
        text = re.sub(r"(reads ).*|(takes about ).*|(plan )\d+", r"\1\2\3", text)
        return [line for line in text.splitlines() if line]

    assert timeless(kappa("plan").out) == timeless(example)


def test_a_first_plan_can_be_made_before_anything_runs(kappa, project: Path) -> None:
    kappa("ingest", "events.ndjson")
    typed = kappa("plan")

    assert typed.code == 0
    assert "user_profile v1 is new" in typed.out
    assert typed.out.splitlines()[-1] == "next: kappa apply"


def test_a_plan_with_nothing_to_do_says_so_and_is_no_error(kappa, folded: Path) -> None:
    typed = kappa("plan")

    assert typed.code == 0
    assert typed.out.splitlines()[-1] == "nothing to do: what is deployed is what the code says"


def test_a_refused_plan_is_exit_code_1_and_says_what_to_do(kappa, folded: Path) -> None:
    change(folded, "event.email.lower()", "event.email.lower() + str(datetime.now())")
    typed = kappa("plan")

    assert typed.code == 1
    assert "user_profile v1 is refused" in typed.out
    assert "reads the clock: datetime.now" in typed.out
    assert typed.out.splitlines()[-1] == "next: mend what is said above, then kappa plan"


def test_wrong_shares_are_an_error_with_an_example(kappa, folded: Path) -> None:
    typed = kappa("plan", "--strategy", "incremental", "--shares", "ten")

    assert typed.code == 1
    assert "expected numbers with commas between them in --shares, got 'ten'" in typed.err
    assert "--shares 1,10,50,100" in typed.err


def test_a_range_replay_is_planned_with_what_it_affects(kappa, changed: Path) -> None:
    typed = kappa("replay", "user_profile", "--from", "2026-03-02", "--to", "2026-03-03T00:00Z", "--plan-only")

    assert typed.code == 0, typed.err
    assert "the range holds 2 events of 2 keys" in typed.out
    assert "make the seed of user_profile v2 from v1" in typed.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "expected a date or a time in ISO 8601 after --from, got 'yesterday'"),
        (["--from", "2026-03-03", "--to", "2026-03-02"], "is not after its start"),
        (["--from", "2025-03-03", "--to", "2025-03-04"], "the range lies outside the log"),
    ],
)
def test_a_range_that_cannot_be_is_an_error(kappa, changed: Path, arguments: list[str], said: str) -> None:
    typed = kappa("replay", "user_profile", *arguments, "--plan-only")

    assert (typed.code, typed.out) == (1, "")
    assert said in typed.err
    assert "next: " in typed.err
