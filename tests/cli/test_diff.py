"""`kappa diff` and `kappa why`, as typed: what a reviewer of a change sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kappa.app import App
from kappa.config import load_settings
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.versions import table_of
from kappa.model.fingerprint import combine
from kappa.model.views import view_spec
from kappa.planning.diffs import DiffReport
from kappa.ports import Deployment

MAIN = "from kappa.cli import main; main()"
EXPECTED = 'expect={"orders": "unchanged", "spent": "changes in at most 20 %"}'


def deploy_changed_code(folder: Path) -> None:
    """Deploy the working tree's view as the next version, and fold it."""
    with App(load_settings(folder, os.environ)) as app:
        bundle = app.bundles.store(folder, app.settings.project.modules)
        loaded = app.bundles.load(bundle)
        view = loaded.project.views["user_profile"]
        spec, parts = view_spec(view), fingerprint_parts(view, loaded.root)
        table = table_of(spec, len(app.control.versions("user_profile")) + 1, app.layout)
        app.control.deploy(Deployment(table, combine(parts), parts, bundle, expectations=spec.expect))
        app.views.create(table)
    command = [sys.executable, "-c", MAIN, "run", "--until-caught-up"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture
def changed(folded: Path) -> Path:
    """A project whose candidate counts only what is spent in orders above 10; Ana has a smaller one."""
    code = (folded / "shop.py").read_text()
    code = code.replace("total(OrderPlaced.amount)", "total(OrderPlaced.amount, where=OrderPlaced.amount > 10)")
    code = code.replace('View, key="user_id"', f'View, key="user_id", {EXPECTED}')
    (folded / "shop.py").write_text(code)
    deploy_changed_code(folded)
    return folded


def test_a_diff_shows_what_a_reviewer_asks_for(kappa, changed, shown) -> None:
    typed = kappa("diff", "user_profile", "--samples", "1")

    assert typed.err == ""
    lines = [line.strip() for line in typed.out.splitlines()]
    assert lines[0] == f"user_profile v1 → v2: 3 keys compared at position {shown('9', '12')}, all there are"
    assert ["spent", "2", "66.7", "%", "0", "2", "7.25"] in [line.split() for line in lines]
    assert "unchanged: email, orders, last_order_at" in lines
    at = lines.index("ana  spent 25.00 → 19.90")
    assert lines[at + 1].startswith("they differ from event 3 of this key on, ")
    assert '"amount":"5.10"' in lines[at + 2]
    assert lines[at + 3 : at + 6] == ["before: spent 19.90", "v1: spent 25.00", "v2: spent 19.90"]
    assert lines[at + 6] == ""  # cleo changed too, but less
    assert '✓ orders: "unchanged"; it changed for 0 of 3 keys, 0 %' in lines
    assert '✗ spent: "changes in at most 20 %"; it changed for 2 of 3 keys, 66.7 %' in lines
    assert (
        lines[-1] == "next: mend the code and plan again with `kappa plan`, or give it up: kappa abort user_profile v2"
    )


def test_a_broken_expectation_makes_the_exit_code_1_and_the_report_is_kept(kappa, changed) -> None:
    typed = kappa("diff", "user_profile", "v1", "2", "--json")

    assert typed.code == 1
    assert (typed.json["changed"], typed.json["complete"], len(typed.json["broken"])) == (2, True, 1)
    with App(load_settings(changed, os.environ)) as app:
        kept = app.control.diff("user_profile", 1, 2)
    assert json.loads(kept.document) == typed.json
    assert set(typed.json) == set(DiffReport.__struct_fields__)


def test_after_a_rollback_is_possible_a_diff_with_the_warm_version_leads_to_it(kappa, changed) -> None:
    kappa("promote", "user_profile", "v2", "--force")

    assert kappa("diff", "user_profile").out.splitlines()[-1] == (
        "next: v1 is warm: kappa rollback user_profile returns to it"
    )


def test_what_was_aborted_is_compared_and_not_to_be_promoted(kappa, changed) -> None:
    kappa("abort", "user_profile", "v2")

    assert "next:" not in kappa("diff", "user_profile", "v1", "v2").out


def test_a_version_compared_with_itself_has_nothing_to_say(kappa, folded) -> None:
    typed = kappa("diff", "user_profile", "v1", "v1")

    assert typed.code == 0
    assert "unchanged: email, orders, spent, last_order_at" in typed.out
    assert "next:" not in typed.out


def test_without_a_candidate_there_is_nothing_to_compare(kappa, folded) -> None:
    typed = kappa("diff", "user_profile")

    assert (typed.code, typed.out) == (1, "")
    assert typed.err.splitlines() == [
        "error: there is nothing to compare user_profile v1 with",
        "next:  change its code, then: kappa plan",
    ]


def test_why_shows_the_events_that_made_a_row(kappa, folded) -> None:
    typed = kappa("why", "user_profile", "bob")

    assert (typed.code, typed.err) == (0, "")
    lines = typed.out.splitlines()
    assert lines[0].split()[0] == "1"
    assert lines[1].strip().startswith("a new row: email ")
    assert "      set aside: OrderPlaced: " in typed.out
    assert lines[-1].startswith("user_profile v1 bob: ")
    assert lines[-1].endswith(", 1 of them set aside; what they make equals the stored row")


def test_why_tells_it_by_the_code_of_the_version_asked_for(kappa, changed) -> None:
    """The working tree may be broken: each version has its own code."""
    (changed / "shop.py").write_text("nonsense(")
    told = [json.loads(line) for line in kappa("why", "user_profile", "ana", "--json").out.splitlines()]
    other = kappa("why", "user_profile", "ana", "--version", "v2", "--last", "1")

    assert [each["kind"] for each in told] == ["event", "event", "event", "outcome"]
    assert told[2]["changed"]["spent"] == ["19.90", "25.00"]
    assert told[3]["told"] == told[3]["stored"]
    assert "orders 1 → 2, last_order_at" in other.out
    assert "   2  " not in other.out


def test_why_refuses_a_key_without_events(kappa, folded) -> None:
    typed = kappa("why", "user_profile", "eve")

    assert (typed.code, typed.out) == (1, "")
    assert typed.err.startswith("error: the log has no event with this key before offset ")
