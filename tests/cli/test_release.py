"""Shift, promote, roll back, abort, retire and what shows them, as a person types them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Kappa, fold_the_sample, type_in_another_process
from storages import SQLITE

from kappa.app import App
from kappa.config import load_settings
from kappa.control.fingerprints import fingerprint_parts
from kappa.control.versions import deployment_of

VIEW = "user_profile"


def deploy_changed(folder: Path, *, version: int, method: str) -> None:
    """Change how the project's code shows email addresses, and deploy it as a candidate."""
    module = folder / "shop.py"
    module.write_text(re.sub(r"event\.email\.\w+\(\)", f"event.email.{method}()", module.read_text()))
    with App(load_settings(folder, os.environ)) as app:
        bundle = app.bundles.store(folder, ["shop"])
        loaded = app.bundles.load(bundle)
        view = loaded.project.views[VIEW]
        parts = fingerprint_parts(view, loaded.root)
        deployment = deployment_of(view, version, parts=parts, bundle=bundle, layout=app.layout)
        app.control.deploy(deployment)
        app.views.create(deployment.table)


def compare_changed(folder: Path) -> None:
    """Deploy a candidate v2 in a project, let it catch up and compare it."""
    deploy_changed(folder, version=2, method="upper")
    type_in_another_process(folder, "run", "--until-caught-up")
    type_in_another_process(folder, "diff", VIEW, "v1", "v2")


@pytest.fixture(scope="session")
def compared_once(folded_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a candidate v2 that has caught up and was compared. Copied, not used."""
    folder = tmp_path_factory.mktemp("compared") / "shop"
    shutil.copytree(folded_once, folder)
    compare_changed(folder)
    return folder


@pytest.fixture
def compared(place: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, which is the working folder. What servers hold cannot be copied, and is made anew."""
    if request.config.getoption("storage") == SQLITE:
        shutil.copytree(request.getfixturevalue("compared_once"), place)
    else:
        fold_the_sample(place)
        compare_changed(place)
    monkeypatch.chdir(place)
    return place


def email(kappa: Kappa, *options: str) -> str:
    found: str = kappa("get", VIEW, "ana", "--json", *options).json["columns"]["email"]
    return found


def test_a_plan_that_was_not_applied_is_not_promoted_without_a_review(kappa: Kappa, compared: Path) -> None:
    kappa("plan")
    refused = kappa("promote")

    assert refused.code == 1
    assert "next:  kappa apply 1, then kappa promote" in refused.err
    assert kappa("get", VIEW, "ana", "--json").json["version"] == 1


@pytest.mark.parametrize("verb", [("history",), ("versions",), ("abort", "v1"), ("promote", "v1"), ("shift", "v1=5")])
def test_a_view_that_was_never_deployed_is_named_with_those_that_were(
    kappa: Kappa, compared: Path, verb: tuple[str, ...]
) -> None:
    refused = kappa(verb[0], "user_profil", *verb[1:])

    assert (refused.code, refused.err.splitlines()) == (
        1,
        ["error: no deployed view is called 'user_profil'", "next:  choose one of: user_profile"],
    )


@pytest.mark.slow
def test_promote_and_roll_back_and_promote_again(kappa: Kappa, compared: Path) -> None:
    promoted = kappa("promote", VIEW, "v2")
    assert (promoted.code, promoted.out.splitlines()) == (
        0,
        [
            "user_profile is served from v2 now",
            "undo:  kappa rollback user_profile, which brings user_profile v1 back",
        ],
    )
    assert email(kappa) == "ANA@EXAMPLE.ORG"

    back = kappa("rollback", VIEW)
    assert back.out.splitlines() == [
        "user_profile is served from v1 again",
        "next:  promote again: kappa promote user_profile v2",
        "       give up:       kappa abort user_profile v2",
    ]
    assert email(kappa) == "ana@example.org"

    assert kappa("promote", VIEW, "2").code == 0
    assert kappa("promote", VIEW, "v2").out == "user_profile v2 is primary already\n"
    assert email(kappa, "--version", "v1") == "ana@example.org"
    assert kappa("query", f"SELECT email FROM {VIEW} WHERE user_id = 'ana'", "--csv").out == "email\nANA@EXAMPLE.ORG\n"

    done = kappa("history", VIEW, "-n", "3", "--json").json
    assert [(entry["action"], entry["version"]) for entry in done] == [("promote", 2), ("roll-back", 1), ("promote", 2)]
    *_, last = (line.split() for line in kappa("history").out.splitlines())
    assert last[3:] == ["promote", VIEW, "v2"]


@pytest.mark.slow
def test_a_canary_serves_its_share_until_it_is_taken_back(kappa: Kappa, compared: Path) -> None:
    shifted = kappa("shift", VIEW, "v1=0", "v2=100")
    assert (shifted.code, shifted.out.splitlines()) == (
        0,
        [
            "user_profile v2 serves 100 % of the keys, v1 the rest",
            "next:  kappa promote user_profile v2",
            "       take the share back: kappa shift user_profile v2=0",
        ],
    )
    assert "user_profile v2 (canary), true at" in kappa("get", VIEW, "ana").out

    assert kappa("shift", VIEW, "v2=0").out == "user_profile v1 serves all keys\n"
    assert "user_profile v1, true at" in kappa("get", VIEW, "ana").out


@pytest.mark.slow
def test_versions_shows_each_one_and_marks_the_code_of_the_folder(kappa: Kappa, compared: Path) -> None:
    kappa("shift", VIEW, "v2=10")

    lines = kappa("versions", VIEW).out.splitlines()
    first, second = (line.split() for line in lines[2:4])
    assert first[:5] == [VIEW, "v1", "primary", "90", "%"]
    assert second[:5] == [VIEW, "v2", "canary", "10", "%"]
    assert ("*" in first, "*" in second) == (False, True)
    assert lines[-1] == "next:  kappa diff user_profile, then: kappa promote user_profile v2"
    assert [entry["state"] for entry in kappa("versions", "--json").json["versions"]] == ["primary", "canary"]


@pytest.mark.slow
def test_versions_does_without_the_code_of_the_folder(kappa: Kappa, compared: Path) -> None:
    (compared / "shop.py").write_text("import nothing_of_this_name\n")

    typed = kappa("versions")

    assert typed.code == 0
    assert "no version is marked: module 'shop' needs 'nothing_of_this_name', which is not installed" in typed.out


@pytest.mark.slow
def test_an_aborted_candidate_is_gone_and_its_rows_go_after_the_grace_period(
    kappa: Kappa, compared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kappa("abort", VIEW, "v2").out.splitlines() == [
        "user_profile v2 is aborted",
        "next:  mend the code, then: kappa plan",
    ]
    refused = kappa("promote", VIEW, "v2")
    assert refused.code == 1
    assert refused.err.startswith("error: user_profile v2 was aborted\n")
    assert kappa("janitor").out == "nothing to delete: all that is not needed any more is younger than 7d\n"

    monkeypatch.setenv("KAPPA_JANITOR_GRACE", "1ms")
    shown = kappa("janitor", "--dry-run").out.splitlines()
    assert (shown[0], shown[-1]) == ("would delete the rows of user_profile__v2", "next:  kappa janitor")
    assert kappa("janitor", "--json").json["tables"] == ["user_profile__v2"]
    assert kappa("get", VIEW, "ana", "--version", "v2").code == 1
    assert email(kappa) == "ana@example.org"


@pytest.mark.slow
def test_retiring_the_former_primary_says_what_it_costs(kappa: Kappa, compared: Path) -> None:
    kappa("promote", VIEW, "v2")

    assert kappa("retire", VIEW, "v1").out.splitlines()[:2] == [
        "user_profile v1 is retired",
        "there is nothing to roll user_profile back to any more",
    ]
    assert kappa("rollback").code == 1


@pytest.mark.slow
def test_a_view_that_is_gone_from_the_code_can_be_retired(kappa: Kappa, compared: Path) -> None:
    assert "the project's code still has the view" in kappa("retire", VIEW, "--all").err

    module = compared / "shop.py"
    module.write_text(module.read_text().replace("class UserProfile(", "class Customer("))
    assert kappa("retire", VIEW, "--all").out.startswith(
        "user_profile v1, v2 is retired: the view is served no longer\n"
    )
    assert "no deployed view is called 'user_profile'" in kappa("get", VIEW, "ana").err


@pytest.mark.slow
def test_what_is_not_ready_is_refused_with_the_next_step(
    kappa: Kappa, compared: Path, shown: Callable[[str, str], str]
) -> None:
    deploy_changed(compared, version=3, method="title")

    refused = kappa("promote", VIEW, "v3")
    assert refused.err.splitlines() == [
        "error: user_profile v3 was not compared with v1, the primary",
        "next:  compare them: kappa diff user_profile v1 v3; or overrule this: kappa promote user_profile v3 --force",
    ]
    lagging = kappa("shift", VIEW, "v3=10", "--wait", "0")
    lacking = f"error: user_profile v3 has not caught up: it lacks {shown('9', '~12')} events that v1 holds\n"
    assert lagging.err.startswith(lacking)
    forced = kappa("promote", VIEW, "v3", "--force", "--json")
    assert len(forced.json["forced"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("promote", VIEW), "expected a view and a version"),
        (("promote", VIEW, "two"), "'two' is not a version: expected v2, for example"),
        (("promote", VIEW, "v2", VIEW, "v1"), "'user_profile' is named twice"),
        (("promote", "--force"), "--force is for single versions"),
        (("shift", VIEW, "v2"), "'v2' is not a share: expected v2=10"),
        (("shift", VIEW, "v2=1", "2=3"), "v2 has two shares"),
        (("retire", VIEW), "expected either a version, or --all"),
        (("get", VIEW, "ana", "--version", "v0"), "'v0' is not a version"),
    ],
)
def test_a_wrong_command_line_says_what_was_expected(
    kappa: Kappa, compared: Path, arguments: tuple[str, ...], message: str
) -> None:
    typed = kappa(*arguments)

    assert typed.code == 2
    assert message in typed.err
