"""Settings are typed; what is unknown or wrong is refused with its place and what was expected."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kappa.config import SECTIONS, decode_settings, encode_settings, environment_name, find_project, load_settings
from kappa.errors import ProjectError

DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"
LEAST = '[project]\nname = "shop"\nmodules = ["shop"]\n[log]\nkey = "user_id"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "kappa.toml").write_text(text)
    return folder


def test_what_is_not_given_has_a_default(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, LEAST), {})

    assert settings.project.modules == ("shop",)
    assert (settings.log.partitions, settings.engine.workers, settings.engine.commit_interval_s) == (4, 1, 1.0)
    assert settings.engine.cache_rows == 400_000
    assert settings.state_folder == tmp_path / ".kappa"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environment = {
        "KAPPA_LOG_PARTITIONS": "8",
        "KAPPA_PROJECT_MODULES": "shop, shop.returns",
        "KAPPA_ENGINE_COMMIT_INTERVAL_S": "0.5",
        "KAPPA_STORAGE_FOLDER": "/data/shop",
        "KAPPA_TRACEBACK": "1",
        "PATH": "/bin",
    }
    settings = load_settings(write(tmp_path, LEAST + "partitions = 2\n"), environment)

    assert (settings.log.partitions, settings.engine.commit_interval_s) == (8, 0.5)
    assert settings.project.modules == ("shop", "shop.returns")
    assert settings.state_folder == Path("/data/shop")


def test_a_worker_gets_the_settings_of_the_process_that_starts_it(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, LEAST), {"KAPPA_ENGINE_WORKERS": "2"})

    assert decode_settings(encode_settings(settings)) == settings


def test_options_of_kafka_are_a_table_or_a_list_in_the_environment(tmp_path: Path) -> None:
    file = write(tmp_path, LEAST + '[kafka.options]\n"security.protocol" = "SSL"\n')

    assert load_settings(file, {}).kafka.options == {"security.protocol": "SSL"}
    given = {"KAPPA_KAFKA_OPTIONS": "security.protocol=SASL_SSL, sasl.password=env:SECRET"}
    assert load_settings(file, given).kafka.options == {
        "security.protocol": "SASL_SSL",
        "sasl.password": "env:SECRET",
    }


def test_a_profile_is_overridden_part_by_part_in_a_section_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path, LEAST + "[flink]\nprofile = 'live'\n[flink.live]\nbundle_records = 500\nparallelism = 4\n")
    flink = load_settings(file, {"KAPPA_FLINK_LIVE_PARALLELISM": "2", "KAPPA_FLINK_REPLAY_FLUSH_INTERVAL_S": "9"}).flink

    assert (flink.profile, flink.live.parallelism, flink.live.bundle_records) == ("live", 2, 500)
    assert (flink.live.checkpoint_interval_s, flink.live.flush_interval_s) == (10, 0.5)
    assert (flink.replay.checkpoint_interval_s, flink.replay.flush_interval_s) == (30, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LEAST + 'partitions = "8"\n', "log.partitions: expected `int`, got `str`"),
        (
            LEAST + "[kafka]\nreplication_factor = 1\n",
            "kafka.min_insync_replicas is 2, but kafka.replication_factor is 1",
        ),
        (LEAST + "partitions = 0\n", "log.partitions: expected `int` >= 1"),
        (LEAST + "[engine]\ncommit_interval_s = 0\n", "engine.commit_interval_s: expected `float` > 0.0"),
        (LEAST.replace('["shop"]', "[]"), "project.modules: expected `array` of length >= 1"),
        (LEAST.replace('["shop"]', '["shop.py!"]'), "project.modules: expected `str` matching regex"),
        (LEAST + "[log.x]\n", "log.x is not a setting: expected one of key, partitions"),
        (LEAST + "[engines]\n", "[engines] is not a setting: expected one of project, log, engine, storage"),
        ('[project]\nname = "shop"\nmodules = ["shop"]\n[log]\n', "log.key is missing"),
        (LEAST.replace("[log]", "[storage]\n[log]").replace("[project]", "x = 1\n[project]"), "[x] is not a setting"),
        ('[log]\nkey = "user_id"\n', "[project] is missing"),
        ("log = 1\n[project]\n", "[log]: expected `object`, got `int`"),
        (LEAST.replace("user_id", "timestamp"), "log.key: expected a field that says what an event is about"),
        ("project = [", "kappa.toml is not valid TOML"),
        (LEAST + "[flink.live]\nbundle_records = 0\n", "flink.live.bundle_records: expected `int` >= 1"),
        (LEAST + "[flink]\nlive = 1\n", "[flink.live]: expected `object`, got `int`"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProjectError) as refused:
        load_settings(write(tmp_path, text), {})

    assert message in refused.value.message
    assert refused.value.where == str(tmp_path / "kappa.toml")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("KAPPA_LOG_PARTITIONS", "eight", "log.partitions: expected `int`, got `str`"),
        ("KAPPA_LOG_PARTITION", "8", "log.partition is not a setting"),
        ("KAPPA_ENGINE_COMMIT_INTERVAL_S", "nan", "engine.commit_interval_s: expected"),
        ("KAPPA_FLINK_REPLAY_PARALLELISM", "two", "flink.replay.parallelism: expected `int`, got `str`"),
        ("KAPPA_FLINK_LIVE_SLOTS", "2", "flink.live.slots is not a setting: expected one of parallelism"),
        ("KAPPA_FLINK_PARALLELISM", "2", "flink.parallelism is not a setting: expected one of rest_url"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named_by_its_variable(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(ProjectError) as refused:
        load_settings(write(tmp_path, LEAST), {name: value})

    assert message in refused.value.message
    assert refused.value.where == f"environment variable {name}"


def test_a_misspelt_key_suggests_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as refused:
        load_settings(write(tmp_path, LEAST + "partition = 8\n"), {})

    assert refused.value.next_step == "did you mean 'partitions'?"


def test_more_workers_than_partitions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"engine\.workers is 5, but log\.partitions is 4"):
        load_settings(write(tmp_path, LEAST + "[engine]\nworkers = 5\n"), {})


def test_a_project_is_found_from_any_folder_in_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    write(tmp_path, LEAST)

    assert find_project(tmp_path / "a" / "b") == tmp_path


def test_without_a_project_the_next_step_is_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as refused:
        find_project(tmp_path)

    assert refused.value.next_step is not None
    assert "kappa init" in refused.value.next_step


def test_each_setting_is_documented_with_its_variable_and_default() -> None:
    sections = dict(part.split("\n", 1) for part in DOCS.read_text().split("\n### ")[1:])
    settings = {
        f"{section}.{field.name}": (environment_name(section, field.name), _default(field))
        for section, kind in SECTIONS.items()
        for field in msgspec.structs.fields(kind)
        if f"{section}.{field.name}" not in SECTIONS
    }

    assert sections.keys() == settings.keys()
    for name, (variable, default) in settings.items():
        assert f"`{variable}`" in sections[name]
        expected = "required" if default is msgspec.NODEFAULT else f"by default {_shown(default)}"
        assert expected in " ".join(sections[name].split()), name


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _shown(default: object) -> str:
    if default == {}:
        return "empty"
    if isinstance(default, str):
        return f"`{default}`" if default else '`""`'
    return f"{default:g}"


def test_settings_of_another_version_of_kappa_are_told_as_such() -> None:
    with pytest.raises(ProjectError, match="from another version of kappa than this process has") as refusal:
        decode_settings('{"root": "/shop"}')

    assert "restart" in str(refusal.value.next_step)
