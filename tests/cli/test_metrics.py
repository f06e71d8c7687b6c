"""`kappa metrics`: the numbers of `kappa status`, as a monitoring system gets them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest
from cli.conftest import MAIN, Kappa
from prometheus_client.parser import text_string_to_metric_families

from kappa import parts
from kappa.app import App
from kappa.config import load_settings
from kappa.control.metrics import METRICS
from kappa.ports import Holder, RunReport, WorkerHealth
from kappa.ports.engine import CheckpointLoad, JobLoad, OperatorLoad

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
AT = datetime(2026, 3, 1, tzinfo=UTC)

Numbers = dict[tuple[str, ...], float]


def numbers(text: str) -> Numbers:
    """Return what Prometheus reads: (name, values of labels in the order of their names) -> value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextmanager
def running_job(folder: Path) -> Iterator[None]:
    """Let the project look as if a process ran its view as a job, which is held up by its fold."""
    operators = [OperatorLoad("source", 1, 50, 50, 900, 0.0, 1.0), OperatorLoad("fold", 2, 990, 10, 0)]
    checkpoint = CheckpointLoad(AT, 1.5, 10.0, 80_000_000, 3_000_000, waited_s=0.5)
    job = WorkerHealth("", "user_profile__v1", "running", None, 0, "", load=JobLoad(operators, checkpoint))
    with App(load_settings(folder, os.environ)) as app, closing(parts.open_lock(app.settings)) as lock:
        lock.take(Holder("here", os.getpid(), AT))
        app.control.report(RunReport(os.getpid(), datetime.now(UTC), [job]))
        yield


@pytest.mark.usefixtures("on_files")
def test_a_project_at_rest_in_numbers(kappa: Kappa, folded: Path) -> None:
    found = numbers(kappa("metrics").out)

    assert found["kappa_status_readable",] == 1
    assert found["kappa_running",] == 0
    assert found["kappa_rejected_input",] == 1
    assert found["kappa_log_events", "events"] == 9
    assert found["kappa_version_state", "primary", "v1", "user_profile"] == 1
    assert found["kappa_version_lag_events", "v1", "user_profile"] == 0
    assert found["kappa_version_rows", "v1", "user_profile"] == 3
    assert found["kappa_version_dead_letters", "v1", "user_profile"] == 1
    assert [found["kappa_partition_position", str(each), "v1", "user_profile"] for each in range(4)] == [3, 0, 4, 2]


@pytest.mark.usefixtures("on_files")
def test_what_a_new_event_changes(kappa: Kappa, folded: Path) -> None:
    (folded / "more.ndjson").write_text('{"type":"Odd","user_id":"ana","timestamp":"2026-03-05T00:00:00Z"}\n')
    before = numbers(kappa("metrics").out)
    kappa("ingest", "more.ndjson")
    now = numbers(kappa("metrics").out)

    assert {name: value for name, value in now.items() if value != before[name] and "bytes" not in name[0]} == {
        ("kappa_log_events", "events"): 10,
        ("kappa_version_lag_events", "v1", "user_profile"): 1,
        ("kappa_partition_lag_events", "0", "v1", "user_profile"): 1,
    }


def test_a_job_in_numbers(kappa: Kappa, folded: Path) -> None:
    with running_job(folded):
        found = numbers(kappa("metrics").out)

    of_source, of_fold = ("source", "v1", "user_profile"), ("fold", "v1", "user_profile")
    assert found["kappa_running",] == 1
    assert found["kappa_job_backpressure", "high", "v1", "user_profile"] == 1
    assert found["kappa_operator_backpressured_ratio", *of_source] == 0.9
    assert found["kappa_operator_output_buffers_ratio", *of_source] == 1
    assert ("kappa_operator_output_buffers_ratio", *of_fold) not in found
    assert found["kappa_operator_busy_ratio", *of_fold] == 0.99
    assert found["kappa_operator_subtasks", *of_fold] == 2
    assert found["kappa_operator_holds_up", *of_fold] == 1
    assert found["kappa_checkpoint_timestamp_seconds", "v1", "user_profile"] == AT.timestamp()
    assert found["kappa_checkpoint_waited_seconds", "v1", "user_profile"] == 0.5
    assert found["kappa_checkpoint_state_bytes", "v1", "user_profile"] == 80_000_000


def test_the_documentation_names_each_metric_and_its_labels(kappa: Kappa, folded: Path) -> None:
    with running_job(folded):
        shown = kappa("metrics", "--json").json["metrics"]

    rows = re.findall(r"^\| `(kappa_\w+)` \| (.*?) \| (.*?) \|$", DOCS.read_text(), re.MULTILINE)
    assert {name: meaning for name, _, meaning in rows} == METRICS
    labels = {name: set(re.findall(r"\w+", named)) for name, named, _ in rows}
    assert labels == {each["metric"]: set(each["labels"]) for each in shown}


@pytest.mark.slow
def test_prometheus_is_told_anew_each_time_and_that_something_cannot_be_read(
    kappa: Kappa, folded: Path, free_port: int
) -> None:
    def scraped() -> Numbers:
        with urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=30) as answer:
            return numbers(answer.read().decode())

    command = [sys.executable, "-c", MAIN, "metrics", "--serve", "--port", str(free_port)]
    settings = folded / "kappa.toml"
    right = settings.read_text()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stderr is not None
        assert serving.stderr.readline() == f"metrics are at http://127.0.0.1:{free_port}/metrics until Ctrl-C\n"
        assert scraped()["kappa_version_rows", "v1", "user_profile"] == 3
        assert kappa("metrics", "--serve", "--port", str(free_port)).err.startswith(
            f"error: cannot listen on 127.0.0.1:{free_port}: "
        )

        settings.write_text("[project")
        assert scraped() == {("kappa_status_readable",): 0}
        settings.write_text(right)
        assert scraped()["kappa_status_readable",] == 1

        serving.send_signal(signal.SIGINT)
        _, err = serving.communicate()
    assert serving.returncode == 0
    assert err.startswith("error: kappa.toml is not valid TOML")
