"""Jobs of Flink's own client, without us: over a topic from its start to its end, timed by what Flink says."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kappa.adapters.flink.submit import FlinkClient
from kappa.stack import Stack
from kappa.stack.s3 import CHECKPOINTS
from kappa.stack.tools import MAVEN

JOBS = Path(__file__).parent
# Made for Flink 2.0, and at work on 2.2; PostgreSQL's driver is in the cluster.
_JDBC = ("flink-connector-jdbc-core:4.0.0-2.0", "flink-connector-jdbc-postgres:4.0.0-2.0")
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"
_SUBMIT_S, _LOOK_S = 120, 0.5


class FlinkAlone:
    """A stack's cluster, as somebody has it who does not have us."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        """Fetch the connector that the stack does not have, into a folder."""
        self._folder, self._rest, self._brokers = folder, stack.address("flink"), stack.address("kafka")
        self._environment = {
            **os.environ,
            **stack.client_environment(),
            "PGPASSWORD": stack.secrets.postgres_password,  # Java does not look into libpq's file
        }
        self._jars = _fetch(_JDBC, folder / "jars", self._environment)

    def seconds(self, file: str, topic: str, *, table: str = "") -> float:
        """Run a job over the whole topic, and return how long it was at work.

        Args:
            file: Which builds the job.
            topic: What it reads.
            table: Where its rows go, with checkpoints on S3 meanwhile; empty: nowhere, and without.
        """
        client = FlinkClient(self._rest, job_file=JOBS / file, folder=self._folder, environment=self._environment)
        checkpoints = f"s3://{CHECKPOINTS}/{Path(file).stem}"
        arguments = [self._brokers, topic, *([table, checkpoints, *self._jars] if table else [])]
        submission = client.submit(file, arguments, savepoint="")
        submission.wait(_SUBMIT_S)
        assert submission.job_id is not None, submission.failure
        job = f"{self._rest}/jobs/{submission.job_id}"
        while (state := _ask(job)["state"]) not in ("FINISHED", "FAILED", "CANCELED"):
            time.sleep(_LOOK_S)
        assert state == "FINISHED", _ask(f"{job}/exceptions")
        return _seconds_at_work(job)


def _seconds_at_work(job: str) -> float:
    """Return the seconds from when all of a job had opened, Python too, until all of it had ended."""
    times = [
        subtask["timestamps"]
        for vertex in _ask(job)["vertices"]
        for subtask in _ask(f"{job}/vertices/{vertex['id']}/subtasktimes")["subtasks"]
    ]
    return (max(each["FINISHED"] for each in times) - max(each["RUNNING"] for each in times)) / 1_000


def _fetch(artifacts: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Let Maven put artifacts of Flink into a folder, and return their URLs."""
    for artifact in artifacts:
        options = [f"-Dartifact=org.apache.flink:{artifact}", f"-DoutputDirectory={folder}"]
        command = [str(MAVEN.find(environment)), "--quiet", "--batch-mode", _COPY, *options]
        done = subprocess.run(command, env=dict(environment), cwd=os.sep, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    return [jar.as_uri() for jar in sorted(folder.glob("*.jar"))]


def _ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the stack's own
        return json.load(answer)
