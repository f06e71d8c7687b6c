"""The Java parts of a Flink job, by their own tests: they lie beside them, and run against the servers started here."""

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

MAVEN = shutil.which("mvn")
BRIDGE = Path(__file__).parents[2] / "flink-bridge"


@pytest.mark.slow
@pytest.mark.skipif(MAVEN is None, reason="Maven is not installed")
def test_the_java_parts_pass_their_own_tests(postgres_server, small_stack, tmp_path):
    project = shutil.copytree(BRIDGE, tmp_path / "flink-bridge", ignore=shutil.ignore_patterns("target"))
    servers = [
        f"-Dkappa.postgres=jdbc:postgresql://127.0.0.1:{postgres_server.port}/postgres?user=kappa",
        f"-Dkappa.kafka={small_stack.address('kafka')}",
    ]

    done = subprocess.run(
        [MAVEN, "--quiet", "--batch-mode", "test", *servers],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    reports = [ET.parse(each).getroot() for each in project.glob("target/surefire-reports/*.xml")]  # noqa: S314 - of our own tests
    assert sum(int(report.get("tests", "0")) for report in reports) > 0
    assert sum(int(report.get("skipped", "0")) for report in reports) == 0
