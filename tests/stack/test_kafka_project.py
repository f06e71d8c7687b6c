"""A project whose logs are on Kafka gives the same rows as one whose logs are files; worker processes fold and copy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from kappa.app import App
from kappa.config import load_settings
from kappa.control import running
from kappa.errors import ProjectError
from kappa.testing.eventually import eventually

pytestmark = pytest.mark.slow

SHOP = Path(__file__).parents[2] / "examples" / "shop"
KAPPA = Path(sys.executable).with_name("kappa")
QUERIES = (
    "SELECT user_id, total_orders, total_spent, email, city FROM user_profile ORDER BY user_id",
    "SELECT page, views, mobile_views, visitors FROM page_popularity ORDER BY page",
)
VISITS = """
from kappa import Event, View, count

class Visited(Event):
    user: str

class Visitor(View, key="user"):
    visits: int = count(Visited)
"""


def run(folder: Path, *command: str | Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def rows_of(folder: Path, environment: Mapping[str, str]) -> list[object]:
    """Ingest the shop's events, half of them twice, fold them, and return what the queries find."""
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    run(folder, sys.executable, "generate.py", "--events=5000", "--keys=300", "--out=all.ndjson", environment={})
    lines = (folder / "all.ndjson").read_text().splitlines(keepends=True)
    for count in (len(lines) // 2, len(lines)):
        (folder / "events.ndjson").write_text("".join(lines[:count]))
        run(folder, KAPPA, "ingest", "events.ndjson", environment=environment)
        run(folder, KAPPA, "run", "--until-caught-up", environment=environment)
    return [
        json.loads(run(folder, KAPPA, "query", query, "--rows-max=100000", "--json", environment=environment))["rows"]
        for query in QUERIES
    ]


def test_a_project_on_kafka_gives_the_rows_of_one_in_files(topics: dict[str, str], tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "kafka", topics)

    assert rows == rows_of(tmp_path / "files", {})
    assert all(rows)


def test_a_topic_that_grows_while_it_is_read_ends_the_run_with_the_remedy(
    topics: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Producers send keys to the new partitions at once, which nothing reads."""
    monkeypatch.setattr(running, "LOGS_INTERVAL_S", 0.0)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "kappa.toml").write_text(
        '[project]\nname = "visits"\nmodules = ["grown_visits"]\n[log]\nkey = "user"\n'
    )
    (tmp_path / "grown_visits.py").write_text(VISITS)
    topic = f"{topics['KAPPA_KAFKA_TOPIC_PREFIX']}events"
    admin = AdminClient({"bootstrap.servers": topics["KAPPA_KAFKA_BOOTSTRAP_SERVERS"], "log_level": 0})

    with App(load_settings(tmp_path, {**os.environ, **topics})) as app, app.run() as run:
        eventually(lambda: run.poll().caught_up)
        partitions = len(admin.list_topics(topic).topics[topic].partitions)
        admin.create_partitions([NewPartitions(topic, partitions + 1)])[topic].result(30)

        with pytest.raises(ProjectError, match=f"has {partitions + 1} partitions, not {partitions}") as refusal:
            eventually(lambda: run.poll() is None)

    assert "the events of a key now lie in two partitions" in (refusal.value.next_step or "")
