"""Each verb, used as in its help."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli.conftest import Kappa

from kappa import parts
from kappa.app import App
from kappa.config import load_settings
from kappa.ports import Holder, RunReport, WorkerHealth
from kappa.ports.engine import CheckpointLoad, JobLoad, OperatorLoad
from kappa.testing.eventually import eventually

MAIN = "from kappa.cli import main; main()"

EMAILS = """

def emails(row):
    yield EmailChanged(**row | {"timestamp": datetime.fromisoformat(row["timestamp"])})
"""


def standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_init_starts_a_project_that_passes_its_own_test(kappa, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed = kappa("init", "shop")

    assert typed.code == 0
    assert typed.out.splitlines()[-4:] == [
        "  cd shop",
        "  kappa ingest events.ndjson",
        "  kappa run --until-caught-up",
        "  kappa get user_profile ana",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."]
    assert subprocess.run(command, cwd=tmp_path / "shop", capture_output=True, check=False).returncode == 0


def test_init_overwrites_nothing(kappa, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text("mine")
    typed = kappa("init")

    assert typed.code == 1
    assert "'shop.py' is there already" in typed.err
    assert [file.name for file in tmp_path.iterdir()] == ["shop.py"]


def test_ingest_says_what_it_did(kappa, project) -> None:
    with (project / "events.ndjson").open("a") as events:
        events.write('not json\n{"type":"Odd","user_id":"ana","timestamp":"2026-03-01T00:00:00Z"}\n{"type":')
    typed = kappa("ingest", "events.ndjson")

    assert typed.code == 0
    appended, *rest = typed.out.splitlines()
    assert appended.startswith("appended  9 events (OrderPlaced 5, EmailChanged 3, Odd 1), ")
    assert rest == [
        "unknown   Odd 1: kept in the log, but no view of this project reads them",
        "rejected  2",
        "          line 9: JSON is malformed: invalid character (byte 4)",
        "          line 11: unfinished: the input ends here without a line end: JSON is malformed: it ends too early",
        "          see them all: kappa dlq list",
        "          the last line has no end yet: once it has, ingest again, and it is read again",
    ]


def test_ingest_again_adds_nothing(kappa, project) -> None:
    kappa("ingest", "events.ndjson")
    typed = kappa("ingest", "events.ndjson", "--json")

    report = typed.json["report"]
    assert (report["appended"], report["already_there"], report["rejected"]) == (0, 8, 0)


def test_ingest_says_that_a_file_is_empty(kappa, project) -> None:
    (project / "none.ndjson").touch()

    assert kappa("ingest", "none.ndjson").out == f"{project}/none.ndjson is empty: nothing to append\n"


def test_ingest_reads_standard_input(kappa, project, monkeypatch) -> None:
    content = (project / "events.ndjson").read_bytes()
    for expected in (8, 0):
        standard_input(monkeypatch, content)
        assert kappa("ingest", "-", "--source", "pipe", "--json").json["report"]["appended"] == expected


def test_standard_input_without_a_name_is_new_each_time(kappa, project, monkeypatch) -> None:
    for _ in range(2):
        standard_input(monkeypatch, (project / "events.ndjson").read_bytes())
        assert kappa("ingest", "-", "--json").json["report"]["appended"] == 8


def test_ingest_holds_a_rate(kappa, project) -> None:
    """Eight events at 40 a second are due in a fifth of a second: how fast a machine is does not matter."""
    typed = kappa("ingest", "events.ndjson", "--rate", "40", "--json")

    assert typed.json["report"]["appended"] == 8
    assert typed.json["seconds"] >= 8 / 40


def test_ingest_makes_events_of_csv_rows(kappa, project) -> None:
    (project / "emails.csv").write_text("user_id,email,timestamp\nana,a@example.org,2026-03-01T00:00:00Z\n")
    with (project / "shop.py").open("a") as module:
        module.write(EMAILS)

    assert kappa("ingest", "emails.csv", "--type", "EmailChanged", "--json").json["report"]["appended"] == 1
    mapped = kappa("ingest", "emails.csv", "--map", "shop:emails", "--source", "again", "--json")
    assert mapped.json["report"]["types"] == {"EmailChanged": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "rows of csv do not say what events they are"),
        (("--type", "EmailSent"), "the project has no event type 'EmailSent'"),
        (("--map", "shop"), "expected a function as module:function, got 'shop'"),
        (("--map", "shop:nothing"), "module 'shop' has no function 'nothing'"),
        (("--map", "nowhere:emails"), "there is no module 'nowhere'"),
    ],
)
def test_ingest_needs_to_know_what_a_row_is(kappa, project, arguments: tuple[str, ...], message: str) -> None:
    (project / "emails.csv").write_text("user_id,email,timestamp\n")
    typed = kappa("ingest", "emails.csv", *arguments)

    assert (typed.code, typed.err.splitlines()[0]) == (1, f"error: {message}")


def test_ingest_takes_either_a_type_or_a_function(kappa, project) -> None:
    assert kappa("ingest", "events.ndjson", "--type", "A", "--map", "a:b").code == 2


def test_check_finds_a_clock_in_a_handler(kappa, project) -> None:
    module = project / "shop.py"
    module.write_text(module.read_text().replace("event.email.lower()", "str(datetime.now())"))
    typed = kappa("check")

    assert typed.code == 1
    assert "datetime.now" in typed.out
    line = module.read_text().splitlines().index("        self.email = str(datetime.now())") + 1
    assert f"where: {module}:{line}, in shop.UserProfile.email_changed" in typed.out
    assert "2 event types, 1 views: 1 errors, 0 warnings" in typed.out


def test_run_refuses_what_check_finds(kappa, project) -> None:
    code = (project / "shop.py").read_text()
    (project / "shop.py").write_text(
        code + "\n\nimport random\n\n\n"
        'class Luck(View, key="user_id"):\n    draw: float = 0.0\n\n'
        "    @on(OrderPlaced)\n    def placed(self, event):\n        self.draw = random.random()\n"
    )

    answer = kappa("run", "--until-caught-up")

    assert answer.code == 1
    assert "random.random" in answer.err
    assert f"{project / 'shop.py'}:" in answer.err
    assert kappa("status", "--json").json["versions"] == []


def test_check_reports_a_wrong_declaration(kappa, project) -> None:
    module = project / "shop.py"
    module.write_text(module.read_text().replace('key="user_id"', 'key="customer"'))
    typed = kappa("check")

    assert (typed.code, typed.out) == (1, "")
    assert "error: view UserProfile is keyed by 'customer'" in typed.err
    assert f"where: {module}:" in typed.err


def test_check_passes_a_good_project(kappa, project) -> None:
    typed = kappa("check", "--json")

    assert (typed.code, typed.json["findings"]) == (0, [])


def test_run_folds_the_log_and_get_shows_the_row(kappa, project, shown) -> None:
    kappa("ingest", "events.ndjson")
    typed = kappa("run", "--until-caught-up")

    assert (typed.code, typed.out) == (0, f"user_profile v1 has folded all {shown('8', '~11')} events\n")
    assert kappa("get", "user_profile", "ana", "--json").json == {
        "view": "user_profile",
        "version": 1,
        "columns": {
            "user_id": "ana",
            "email": "ana@example.org",
            "orders": 2,
            "spent": "25.00",
            "last_order_at": "2026-03-02T18:45:00Z",
        },
        "partition": 0,
        "offset": 2,
    }


def test_changed_code_is_mentioned_and_what_is_deployed_runs(kappa, folded) -> None:
    module = folded / "shop.py"
    module.write_text(module.read_text().replace("lower()", "upper()"))

    ran = kappa("run", "--until-caught-up")

    assert (ran.code, ran.err) == (0, "user_profile has changed since v1 was deployed: kappa plan\n")
    assert kappa("get", "user_profile", "ana", "--json").json["columns"]["email"] == "ana@example.org"


def test_broken_code_is_mentioned_and_what_is_deployed_runs(kappa, folded, shown) -> None:
    (folded / "shop.py").write_text("broken(")

    ran = kappa("run", "--until-caught-up")

    assert (ran.code, ran.out) == (0, f"user_profile v1 has folded all {shown('9', '~12')} events\n")
    assert ran.err.startswith("the project's code cannot be used, so what is deployed runs: module 'shop' cannot be")


def test_up_follows_the_log_until_it_is_interrupted_and_only_once(kappa, project) -> None:
    with subprocess.Popen([sys.executable, "-c", MAIN, "up"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as up:
        eventually(lambda: kappa("status", "--json").json["running_in"])
        assert kappa("status", "--json").json["running_in"]["pid"] == up.pid
        kappa("ingest", "events.ndjson")
        eventually(lambda: kappa("get", "user_profile", "cleo").code == 0)

        second = kappa("up")
        assert second.code == 1
        assert f"already running in process {up.pid}" in second.err

        up.send_signal(signal.SIGINT)
        _, err = up.communicate()
    assert (up.returncode, err) == (0, b"stopped; everything that was folded is committed\n")
    assert kappa("status", "--json").json["running_in"] is None


@pytest.mark.usefixtures("on_files")
def test_status_shows_positions_and_lag(kappa, folded) -> None:
    with (folded / "events.ndjson").open("a") as events:
        events.write('{"type":"Odd","user_id":"ana","timestamp":"2026-03-05T00:00:00Z"}\n')
    kappa("ingest", "events.ndjson", "--source", "sample")
    status = kappa("status", "--json").json

    (version,) = status["versions"]
    assert (version["state"], version["lag"], version["rows"], version["dead_letters"]) == ("primary", 1, 3, 1)
    assert {each["partition"]: (each["position"], each["end"]) for each in version["partitions"]} == {
        0: (3, 4),
        1: (0, 0),
        2: (4, 4),
        3: (2, 2),
    }
    assert (status["lag"], status["rejected"], status["logs"][0]["events"]) == (1, 1, 10)


def test_status_is_a_table_for_people(kappa, folded, shown) -> None:
    typed = kappa("status", "--partitions")

    lines = [line.split() for line in typed.out.splitlines()]
    assert ["user_profile", "v1", "primary", "0", "3", "1"] in [line[:6] for line in lines]
    end = shown("4", "5")
    assert ["user_profile", "v1", "2", end, end, "0"] in lines
    assert "1 pieces of input were rejected: kappa dlq list" in typed.out


def test_status_shows_where_the_time_of_a_job_goes_and_what_would_help(kappa, folded) -> None:
    operators = [OperatorLoad("source", 1, 50, 50, 900, 0.0, 1.0), OperatorLoad("fold", 1, 990, 10, 0, 0.625)]
    at = datetime(2026, 3, 1, tzinfo=UTC)
    checkpoint = CheckpointLoad(at, 9.5, 10.0, 80_000_000, 3_000_000, 1_000.0, waited_s=2.0)
    job = WorkerHealth(
        "user_profile v1", "user_profile__v1", "running", None, 0, "", load=JobLoad(operators, checkpoint)
    )
    with App(load_settings(folded, os.environ)) as app, closing(parts.open_lock(app.settings)) as lock:
        lock.take(Holder("here", os.getpid(), datetime(2026, 3, 1, tzinfo=UTC)))
        app.control.report(RunReport(os.getpid(), datetime.now(UTC), [job]))
        typed, status = kappa("status"), kappa("status", "--json").json

    lines = [line.split() for line in typed.out.splitlines()]
    assert ["source", "1", "5%", "5%", "90%", "0%", "100%", "high"] in lines
    assert ["fold", "1", "99%", "1%", "0%", "62%", "ok"] in lines
    assert "the others wait for: fold" in typed.out
    assert "last checkpoint: 9.5 s (2.0 s behind events), 3.0 MB written; state 80.0 MB, +3.6 MB per hour" in typed.out
    assert "set flink.live.checkpoint_interval_s to 38 or more" in typed.out
    assert status["versions"][0]["job"]["verdict"]["starts_at"] == "fold"


def test_status_says_what_does_not_work_and_why(kappa, folded) -> None:
    job = WorkerHealth("page_views v1", "page_views__v1", "restarting", None, 3, "the cluster has no free slot")
    with App(load_settings(folded, os.environ)) as app, app.run():
        app.control.report(RunReport(os.getpid(), datetime.now(UTC), [job]))

        assert "page_views v1 restarting: the cluster has no free slot" in kappa("status").out
        assert kappa("status", "--json").json["not_at_work"] == [
            "page_views v1 restarting: the cluster has no free slot"
        ]


def test_status_works_before_anything_else(kappa, project) -> None:
    typed = kappa("status")

    assert typed.code == 0
    assert "no view is deployed yet" in typed.out


def test_get_shows_each_column(kappa, folded) -> None:
    assert kappa("get", "user_profile", "cleo").out.splitlines() == [
        "user_id        cleo",
        "email          ",
        "orders         2",
        "spent          71.25",
        "last_order_at  2026-03-03T11:20:00Z",
        "",
        "user_profile v1, true at partition 3, offset 1",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("user_profile", "nobody"), "view 'user_profile' has no row for user_id = nobody"),
        (("user_profile", "ana", "bob"), "view 'user_profile' has 1 key columns, got 2"),
        (("profile", "ana"), "no deployed view is called 'profile'"),
    ],
)
def test_get_says_why_there_is_no_row(kappa, folded, arguments: tuple[str, ...], message: str) -> None:
    typed = kappa("get", *arguments)

    assert (typed.code, typed.err.splitlines()[0]) == (1, f"error: {message}")


def test_query_answers_in_three_forms(kappa, folded) -> None:
    sql = "SELECT user_id, orders FROM user_profile ORDER BY user_id"

    assert [line.split() for line in kappa("query", sql).out.splitlines()[2:]] == [
        ["ana", "2"],
        ["bob", "1"],
        ["cleo", "2"],
    ]
    assert kappa("query", sql, "--csv").out == "user_id,orders\nana,2\nbob,1\ncleo,2\n"
    assert kappa("query", sql, "--json").json["rows"] == [["ana", 2], ["bob", 1], ["cleo", 2]]


def test_query_says_that_there_are_more_rows(kappa, folded) -> None:
    typed = kappa("query", "SELECT user_id FROM user_profile", "--rows-max", "2", "--json")

    assert (len(typed.json["rows"]), typed.json["truncated"]) == (2, True)
    assert typed.err == "only the first 2 rows are shown: raise --rows-max for more\n"


def test_query_can_change_nothing(kappa, folded) -> None:
    typed = kappa("query", "DELETE FROM user_profile")

    assert typed.code == 1
    assert typed.err.startswith("error: cannot answer the query")


def test_tail_shows_the_last_events_in_the_order_of_appending(kappa, folded) -> None:
    event = '{"type":"Odd","user_id":"zoe","timestamp":"2026-03-05T00:00:00Z"}'
    (folded / "more.ndjson").write_text(event)
    kappa("ingest", "more.ndjson")
    typed = kappa("tail", "-n", "1")

    assert typed.out.split(maxsplit=3)[1:] == ["2026-03-05T00:00:00Z", "zoe", event + "\n"]


def test_tail_prints_events_as_lines_of_json(kappa, folded) -> None:
    lines = [json.loads(line) for line in kappa("tail", "--from-start", "--json").out.splitlines()]

    assert len(lines) == 9
    assert {line["value"]["type"] for line in lines} == {"EmailChanged", "OrderPlaced"}
    assert [line["offset"] for line in lines if line["partition"] == 2] == [0, 1, 2, 3]


ODD = '{"type":"Odd","user_id":"zoe","timestamp":"2030-03-05T%02d:00:00Z"}\n'


def ingest_hours(kappa: Kappa, project: Path, *hours: int) -> None:
    """Append an event of each of these hours of a day."""
    (project / "odd.ndjson").write_text("".join(ODD % hour for hour in hours))
    kappa("ingest", "odd.ndjson", "--source", repr(hours))


def test_tail_shows_the_events_of_a_time_and_later_ones_in_the_order_of_appending(kappa, project) -> None:
    def hours(*options: str) -> list[int]:
        lines = [json.loads(line) for line in kappa("tail", *options, "--json").out.splitlines()]
        return [int(line["timestamp"][11:13]) for line in lines]

    ingest_hours(kappa, project, 2, 1)
    ingest_hours(kappa, project, 7, 3, 9)
    ingest_hours(kappa, project, 4, 6)

    assert hours("--from", "2030-03-05T06:00") == [7, 9, 6]
    assert hours("--from", "2030-03-05T07:00+01:00", "-n", "2") == [7, 9]
    assert hours("--from", "2030-03-05T10:00") == []
    assert kappa("tail", "--from", "yesterday").err.startswith("error: expected a date or a time in ISO 8601 after")
    assert kappa("tail", "--from", "2030-03-05", "--from-start").code == 2


def test_tail_follows_the_events_of_a_time_and_later_ones(kappa, project) -> None:
    ingest_hours(kappa, project, 2, 7)
    command = [sys.executable, "-c", MAIN, "tail", "--from", "2030-03-05T06:00", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        seen = [json.loads(tail.stdout.readline())["timestamp"]]
        ingest_hours(kappa, project, 3, 9)
        seen.append(json.loads(tail.stdout.readline())["timestamp"])
        tail.send_signal(signal.SIGINT)
    assert seen == ["2030-03-05T07:00:00Z", "2030-03-05T09:00:00Z"]


def test_tail_shows_one_partition(kappa, folded) -> None:
    assert [line.split()[0] for line in kappa("tail", "--partition", "3").out.splitlines()] == ["3:0", "3:1"]
    assert kappa("tail", "--partition", "4").code == 1


def test_tail_follows_the_log(kappa, project) -> None:
    ingest_hours(kappa, project, 1)
    command = [sys.executable, "-c", MAIN, "tail", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        # Once it has shown this one it reads the log, and has to follow it for the others.
        first = json.loads(tail.stdout.readline())["value"]["type"]
        kappa("ingest", "events.ndjson")
        seen = [json.loads(tail.stdout.readline())["value"]["type"] for _ in range(8)]
        tail.send_signal(signal.SIGINT)
    assert (first, sorted(set(seen)), tail.returncode) == ("Odd", ["EmailChanged", "OrderPlaced"], 130)


def test_dlq_lists_what_was_set_aside(kappa, folded) -> None:
    listed = kappa("dlq", "list", "--json").json

    assert (listed["rejected"], listed["dead_letters"]) == (1, 1)
    assert [each["id"] for each in listed["first"]] == ["sample:937", "user_profile:v1:2:3"]
    table = kappa("dlq", "list").out
    assert "1 rejected input, 1 dead letters" in table
    assert "Invalid decimal string" in table


def test_dlq_shows_the_bytes_and_the_reason(kappa, folded) -> None:
    typed = kappa("dlq", "show", "user_profile:v1:2:3")

    assert typed.out.splitlines()[0] == "events[2] at offset 3, for user_profile v1"
    assert '"amount":"many"' in typed.out
    assert kappa("dlq", "show", "sample:937").out.splitlines()[-1] == "not json"


@pytest.mark.parametrize("identity", ["sample:1", "user_profile:v1:2:99", "user_profile:v9:2:3", "nonsense"])
def test_dlq_knows_what_it_does_not_have(kappa, folded, identity: str) -> None:
    typed = kappa("dlq", "show", identity)

    assert (typed.code, typed.err.splitlines()[-1]) == (1, "next:  kappa dlq list")


def test_dlq_retries_rejected_input(kappa, folded) -> None:
    typed = kappa("dlq", "retry", "--all")

    assert typed.out.splitlines() == [
        "appended  0 events from 0 pieces of rejected input",
        "refused   1, which stay where they are",
        "          line 10 of sample: JSON is malformed: invalid character (byte 4)",
    ]
    assert kappa("dlq", "retry", "sample:937", "--json").json["refused"] == 1


def test_dlq_says_whether_todays_code_folds_a_dead_letter(kappa, folded) -> None:
    assert "cannot fold this event either" in kappa("dlq", "retry", "user_profile:v1:2:3").out

    module = folded / "shop.py"
    module.write_text(
        module.read_text().replace("amount: Decimal", "amount: str").replace("spent: Decimal", "# spent: ")
    )
    assert "today's code folds this event" in kappa("dlq", "retry", "user_profile:v1:2:3").out


def test_dlq_retry_wants_an_id_or_all(kappa, folded) -> None:
    assert kappa("dlq", "retry").code == 2


def test_dlq_is_empty_in_a_new_project(kappa, project) -> None:
    assert kappa("dlq", "list").out == "nothing was set aside\n"


def test_doctor_finds_a_healthy_project_healthy(kappa, folded) -> None:
    findings = kappa("doctor", "--json").json

    assert {each["verdict"] for each in findings} == {"ok"}
    assert findings[-1]["check"] == "view user_profile"


def test_doctor_says_what_to_repair(kappa, folded) -> None:
    module = folded / "shop.py"
    module.write_text(module.read_text().replace("lower()", "upper()"))

    assert "next: see what it changes: kappa plan" in kappa("doctor").out


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("kappa.toml", "[project", "fail  settings: kappa.toml is not valid TOML"),
        ("shop.py", "import nowhere_at_all\n", "fail  code: module 'shop' needs 'nowhere_at_all'"),
        ("shop.py", "x = (\n", "fail  code: module 'shop' cannot be imported: SyntaxError: '(' was never closed"),
        ("shop.py", "raise SystemExit(3)\n", "fail  code: module 'shop' cannot be imported: SystemExit: 3"),
        ("shop.py", "1 / 0\n", "fail  code: module 'shop' cannot be imported: ZeroDivisionError"),
    ],
)
def test_doctor_fails_where_something_is_broken(kappa, folded, file: str, text: str, found: str) -> None:
    (folded / file).write_text(text)
    typed = kappa("doctor")

    assert typed.code == 1
    assert found in typed.out


@pytest.mark.usefixtures("on_files")
@pytest.mark.parametrize(("file", "part"), [("logs/events.db", "log"), ("control.db", "views")])
def test_doctor_fails_where_a_file_is_damaged(kappa, folded, file: str, part: str) -> None:
    (folded / ".kappa" / file).write_text("x" * 9_000)
    typed = kappa("doctor")

    assert typed.code == 1
    assert f"fail  {part}: could not use" in typed.out


def test_version_names_what_runs(kappa) -> None:
    assert kappa("version", "--json").json.keys() >= {"kappa-pipeline", "python", "sqlite", "msgspec"}
