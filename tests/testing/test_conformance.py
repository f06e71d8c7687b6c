"""A conformance suite cannot be silenced."""

import subprocess
import sys
from pathlib import Path

import pytest

from kappa.testing.conformance import Conformance


class Suite(Conformance):
    def test_a_law(self) -> None:
        raise AssertionError


def test_a_law_cannot_be_overridden():
    with pytest.raises(TypeError, match="Silent overrides test_a_law: declare a gap instead"):
        type("Silent", (Suite,), {"test_a_law": lambda _: None})


def test_a_gap_names_a_law():
    with pytest.raises(TypeError, match="Wrong declares gaps in laws that do not exist: test_no_law"):
        type("Wrong", (Suite,), {"gaps": {"test_no_law": "a reason"}})


def test_an_adapter_may_add_tests_of_its_own():
    type("Adapter", (Suite,), {"gaps": {"test_a_law": "a reason"}, "test_its_own": lambda _: None})


ADAPTER = """
from kappa.testing.conformance import Conformance

class Suite(Conformance):
    def test_kept(self): pass
    def test_broken(self): assert False
    def test_closed(self): pass

class TestAdapter(Suite):
    gaps = {"test_broken": "the disk is round", "test_closed": "the disk is flat"}
"""


def test_a_gap_has_to_fail_as_long_as_it_is_declared(tmp_path: Path):
    (tmp_path / "test_adapter.py").write_text(ADAPTER)

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rxf", "-p", "no:cacheprovider", "test_adapter.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "XFAIL test_adapter.py::TestAdapter::test_broken - the disk is round" in run.stdout
    assert "FAILED test_adapter.py::TestAdapter::test_closed" in run.stdout
    assert "[XPASS(strict)] the disk is flat" in run.stdout
    assert "1 failed, 1 passed, 1 xfailed" in run.stdout
