"""The examples' own tests, as somebody runs them who has copied an example's folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("example", ["shop", "flights"])
def test_an_example_passes_its_own_tests(example, tmp_path):
    folder = shutil.copytree(EXAMPLES / example, tmp_path / example, ignore=shutil.ignore_patterns("__pycache__"))

    command = [sys.executable, "-m", "pytest", "-q", "--doctest-modules"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
