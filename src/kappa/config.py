"""Read `kappa.toml` and the environment into typed, frozen settings.

It decides where a project is and what its settings are; it opens nothing and imports no code of the project. Every
setting is documented in `docs/configuration.md` under its own heading.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kappa.errors import ProjectError
from kappa.model.durations import duration_us

FILE_NAME = "kappa.toml"
# Environment variable in which worker processes get the settings of the process that starts them.
WORKER_SETTINGS = "KAPPA_WORKER_SETTINGS"
_ENVIRONMENT_PREFIX = "KAPPA_"

ModuleName = Annotated[str, Meta(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]


class ProjectSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the project is called and where its events and views are defined."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    modules: Annotated[tuple[ModuleName, ...], Meta(min_length=1)]


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The event log."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]
    # Fixed when the log is created. The limit keeps one worker's vector of positions small.
    partitions: Annotated[int, Meta(ge=1, le=1024)] = 4
    store: Literal["sqlite", "kafka"] = "sqlite"
    ahead_max: Annotated[str, Meta(pattern="^([1-9][0-9]{0,5}(ms|s|m|h|d))?$")] = ""

    @property
    def ahead_max_us(self) -> int | None:
        """How far ahead of its append an event may be dated, or None if that is not known."""
        return duration_us(self.ahead_max) if self.ahead_max else None


class KafkaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Kafka is, and how its topics are made."""

    bootstrap_servers: Annotated[str, Meta(min_length=1)] = "127.0.0.1:9092"
    topic_prefix: Annotated[str, Meta(max_length=100)] = ""
    replication_factor: Annotated[int, Meta(ge=1, le=10)] = 3
    min_insync_replicas: Annotated[int, Meta(ge=1, le=10)] = 2
    retention_days: Annotated[int, Meta(ge=1, le=36_500)] = 365
    options: Mapping[str, str] = {}


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How versions are folded."""

    kind: Literal["embedded", "flink"] = "embedded"
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    commit_interval_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    cache_rows: Annotated[int, Meta(ge=1)] = 400_000
    live_lag_max: Annotated[int, Meta(ge=1)] = 50_000


class LiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a job works that keeps up with its log; see `kappa.ports.profiles`."""

    # Flink fixes its own limit when a state is made: the key groups that partitions are spread over.
    parallelism: Annotated[int, Meta(ge=0, le=128)] = 0
    checkpoint_interval_s: Annotated[float, Meta(ge=0.01, le=3_600)] = 10.0
    buffer_timeout_ms: Annotated[int, Meta(ge=1, le=10_000)] = 50
    bundle_records: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    flush_interval_s: Annotated[float, Meta(ge=0.01, le=60)] = 0.5


class ReplaySettings(LiveSettings, frozen=True, forbid_unknown_fields=True):
    """How a job works that replays: nobody reads its rows yet."""

    checkpoint_interval_s: Annotated[float, Meta(ge=0.01, le=3_600)] = 30.0
    buffer_timeout_ms: Annotated[int, Meta(ge=1, le=10_000)] = 200
    flush_interval_s: Annotated[float, Meta(ge=0.01, le=60)] = 5.0


class FlinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Flink cluster that folds versions, if `engine.kind` says so."""

    rest_url: Annotated[str, Meta(pattern="^https?://[^/]+$")] = "http://127.0.0.1:8081"
    profile: Literal["auto", "live", "replay"] = "auto"
    state_url: Annotated[str, Meta(pattern="^([a-z][a-z0-9]*://.+)?$")] = ""
    live: LiveSettings = LiveSettings()
    replay: ReplaySettings = ReplaySettings()


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where rows and versions are kept, and the files of what is embedded."""

    store: Literal["sqlite", "postgres"] = "sqlite"
    folder: Annotated[str, Meta(min_length=1)] = ".kappa"


class PostgresSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The PostgreSQL database that rows and versions are in, if `storage.store` says so."""

    dsn: str = ""
    query_dsn: str = ""
    # Room for what it is put before, within PostgreSQL's 63 bytes.
    schema_prefix: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,39}$")] = "kappa"
    statement_timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0


class RegistrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the schemas of event types are registered, and what their changes must leave possible."""

    url: str = ""
    credentials: str = ""
    folder: Annotated[str, Meta(min_length=1)] = "schemas"
    compatibility: Literal["none", "backward", "forward", "full"] = "backward"


class ObjectsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where objects are kept: a bucket of S3, or a folder beside the other embedded files."""

    url: Annotated[str, Meta(pattern="^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?)?$")] = ""
    endpoint_url: str = ""


class JanitorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of what nobody needs any more."""

    grace: Annotated[str, Meta(pattern="^[1-9][0-9]{0,5}(ms|s|m|h|d)$")] = "7d"

    @property
    def grace_time(self) -> timedelta:
        """How long it stays."""
        return timedelta(microseconds=duration_us(self.grace))


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    project: ProjectSettings
    log: LogSettings
    engine: EngineSettings = EngineSettings()
    storage: StorageSettings = StorageSettings()
    postgres: PostgresSettings = PostgresSettings()
    janitor: JanitorSettings = JanitorSettings()
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    objects: ObjectsSettings = ObjectsSettings()
    flink: FlinkSettings = FlinkSettings()


class Settings(msgspec.Struct, frozen=True):
    """Everything that is configured, after the environment had its say.

    Attributes:
        root: The project folder, absolute: where `kappa.toml` lies and modules are imported from.
    """

    root: Path
    project: ProjectSettings
    log: LogSettings
    engine: EngineSettings
    storage: StorageSettings
    postgres: PostgresSettings
    janitor: JanitorSettings
    kafka: KafkaSettings
    registry: RegistrySettings
    objects: ObjectsSettings
    flink: FlinkSettings

    @property
    def file(self) -> Path:
        """The project's `kappa.toml`."""
        return self.root / FILE_NAME

    @property
    def state_folder(self) -> Path:
        """Where the log and the stores are; relative settings start from the project folder."""
        return self.root / Path(self.storage.folder).expanduser()

    @property
    def schemas_folder(self) -> Path:
        """Where schemas are committed with the code; a relative setting starts from the project folder."""
        return self.root / Path(self.registry.folder).expanduser()


# As in the file: one with a dot lies in another.
SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "project": ProjectSettings,
    "log": LogSettings,
    "engine": EngineSettings,
    "storage": StorageSettings,
    "postgres": PostgresSettings,
    "janitor": JanitorSettings,
    "kafka": KafkaSettings,
    "registry": RegistrySettings,
    "objects": ObjectsSettings,
    "flink": FlinkSettings,
    "flink.live": LiveSettings,
    "flink.replay": ReplaySettings,
}


def find_project(start: Path) -> Path:
    """Return the nearest folder at or above `start` that holds a `kappa.toml`.

    Raises:
        ProjectError: There is none.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise ProjectError(
        f"no {FILE_NAME} here or in any folder above",
        where=str(start),
        next_step="start a project with `kappa init`, or name its folder: kappa --project DIR ...",
    )


def load_settings(root: Path, environment: Mapping[str, str]) -> Settings:
    """Read a project's settings; `KAPPA_SECTION_KEY` in the environment overrides the file.

    Raises:
        ProjectError: The file is missing or not TOML, a key is unknown or missing, or a value is not what it must be.
    """
    root = root.absolute()
    file = root / FILE_NAME
    document = _read(file)
    origins = _override(document, environment)
    try:
        parsed = msgspec.convert(document, _File)
    except msgspec.ValidationError as error:
        raise _explain(error, file=file, origins=origins) from error
    _check_together(parsed, file)
    return Settings(root, **{section: getattr(parsed, section) for section in _File.__struct_fields__})


def encode_settings(settings: Settings) -> str:
    """Return settings as text for a worker process, which must not read the project's folder."""
    return msgspec.json.encode(settings, enc_hook=str).decode()


def decode_settings(text: str) -> Settings:
    """Return the settings that `encode_settings` made a text of.

    Raises:
        ProjectError: Another version of kappa made it, as when TaskManagers run on after an update.
    """
    try:
        return msgspec.json.decode(text, type=Settings, dec_hook=lambda kind, value: kind(value))
    except msgspec.ValidationError as error:
        raise ProjectError(
            f"the settings are from another version of kappa than this process has: {error}",
            next_step="restart the workers or TaskManagers with the version that `kappa up` has",
        ) from error


def environment_name(section: str, key: str) -> str:
    """Return the variable that overrides a setting.

    >>> environment_name("log", "partitions")
    'KAPPA_LOG_PARTITIONS'
    """
    return f"{_ENVIRONMENT_PREFIX}{section.replace('.', '_')}_{key}".upper()


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProjectError(
            f"there is no {FILE_NAME}", where=str(file.parent), next_step="start a project with `kappa init`"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{FILE_NAME} is not valid TOML: {error}", where=str(file)) from error
    except OSError as error:
        raise ProjectError(f"could not read {FILE_NAME}: {error.strerror}", where=str(file)) from error


def _override(document: dict[str, Any], environment: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Put the environment's settings into the document; return which variable gave which setting."""
    origins: dict[tuple[str, str], str] = {}
    for name in sorted(environment):
        section = _innermost(each for each in SECTIONS if name.startswith(environment_name(each, "")))
        if not section:
            continue
        key = name.removeprefix(environment_name(section, "")).lower()
        values: Any = document
        for part in section.split("."):
            values = values.setdefault(part, {}) if isinstance(values, dict) else None
        if isinstance(values, dict):
            values[key] = _from_text(SECTIONS[section], key, environment[name])
            origins[section, key] = name
    return origins


def _innermost(sections: Iterable[str]) -> str:
    """Return the section that lies in all the others; empty if there is none."""
    return max(sections, key=len, default="")


def _from_text(settings: type[msgspec.Struct], key: str, text: str) -> Any:
    """Read a variable's text as its setting's type; text that cannot be is left for the check to refuse."""
    wanted = {field.name: field.type for field in msgspec.structs.fields(settings)}.get(key)
    if key == "modules":
        return [part.strip() for part in text.split(",")]
    if key == "options":
        pairs = (part.partition("=") for part in text.split(","))
        return {name.strip(): value.strip() for name, _, value in pairs}
    for number in (int, float):
        if number is getattr(wanted, "__origin__", None):
            try:
                return number(text)
            except ValueError:
                return text
    return text


def _explain(error: msgspec.ValidationError, *, file: Path, origins: Mapping[tuple[str, str], str]) -> ProjectError:
    """Say which key of which file is wrong and what was expected."""
    message, _, path = str(error).partition(" - at `$")
    message = message[:1].lower() + message[1:]
    path = path.rstrip("`").removeprefix(".")
    section = _innermost(each for each in SECTIONS if f"{path}.".startswith(f"{each}."))
    key = path.removeprefix(section).removeprefix(".").partition("[")[0]
    where, next_step = str(file), "see docs/configuration.md"
    if message.startswith(("object contains unknown field", "object missing required field")):
        key = message.split("`")[1]
        known = [field.name for field in msgspec.structs.fields(SECTIONS.get(section, _File))]
        if message.startswith("object missing"):
            message = f"{_setting(section, key)} is missing"
            next_step = f"add it to {FILE_NAME}; docs/configuration.md describes it"
        else:
            message = f"{_setting(section, key)} is not a setting: expected one of {', '.join(known)}"
            close = difflib.get_close_matches(key, known, n=1)
            next_step = f"did you mean '{close[0]}'?" if close else next_step
    else:
        message = f"{_setting(section, key)}: {message}"
    if variable := origins.get((section, key)):
        where = f"environment variable {variable}"
    return ProjectError(message, where=where, next_step=next_step)


def _setting(section: str, key: str) -> str:
    """Name a setting or a section as people write it.

    >>> _setting("log", "key"), _setting("", "log"), _setting("log", "")
    ('log.key', '[log]', '[log]')
    """
    return f"{section}.{key}" if section and key else f"[{section or key}]"


def _check_together(parsed: _File, file: Path) -> None:
    """Refuse values that are right alone and wrong together."""
    if parsed.engine.workers > parsed.log.partitions:
        raise ProjectError(
            f"engine.workers is {parsed.engine.workers}, but log.partitions is {parsed.log.partitions}: "
            "each worker needs a partition of its own",
            where=str(file),
            next_step=f"set engine.workers to at most {parsed.log.partitions}",
        )
    kafka = parsed.kafka
    if kafka.min_insync_replicas > kafka.replication_factor:
        raise ProjectError(
            f"kafka.min_insync_replicas is {kafka.min_insync_replicas}, but kafka.replication_factor is "
            f"{kafka.replication_factor}: nothing could ever be acknowledged",
            where=str(file),
            next_step="set kafka.min_insync_replicas to one less than kafka.replication_factor",
        )
    if parsed.engine.kind == "flink" and (parsed.log.store, parsed.storage.store) != ("kafka", "postgres"):
        raise ProjectError(
            f"engine.kind is flink, but log.store is {parsed.log.store} and storage.store is {parsed.storage.store}: "
            "a cluster reads Kafka and writes PostgreSQL",
            where=str(file),
            next_step="set log.store to kafka and storage.store to postgres, or engine.kind to embedded",
        )
    if parsed.log.key in {"type", "timestamp"}:
        raise ProjectError(
            f"log.key: expected a field that says what an event is about, got '{parsed.log.key}'", where=str(file)
        )
