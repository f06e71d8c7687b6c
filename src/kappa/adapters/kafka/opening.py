"""From settings to topics: a project's logs and those of others, the names, and where secrets come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kappa.adapters.kafka.cluster import Cluster
from kappa.adapters.kafka.foreign import ForeignTopic
from kappa.adapters.kafka.log import KafkaLogs
from kappa.adapters.kafka.topics import Durability
from kappa.errors import ProjectError

_FROM_ENVIRONMENT, _FROM_FILE = "env:", "file:"


def open_logs(
    bootstrap_servers: str,
    *,
    project: str,
    prefix: str,
    durability: Durability,
    ahead_max_us: int | None,
    options: Mapping[str, str],
    environment: Mapping[str, str],
) -> KafkaLogs:
    """Return a project's logs. Nothing is asked of the brokers yet.

    Args:
        bootstrap_servers: Brokers to begin with.
        project: The project's name.
        prefix: Of topics; if empty, the project's name and a dot.
        durability: Of topics.
        ahead_max_us: See `Log.ahead_max_us`.
        options: Of the client; `env:NAME` and `file:PATH` stand for what is there.
        environment: Where `env:` looks.

    Raises:
        ProjectError: A secret is not where an option says.
    """
    return KafkaLogs(
        bootstrap_servers,
        prefix=prefix or topic_prefix(project),
        durability=durability,
        options=client_options(options, environment),
        ahead_max_us=ahead_max_us,
    )


def open_topic(
    topic: str, bootstrap_servers: str, *, options: Mapping[str, str], environment: Mapping[str, str]
) -> ForeignTopic:
    """Return a topic that other systems write; options and environment are those of `open_logs`.

    Raises:
        InputError: There is no such topic.
        ProjectError: A secret is not where an option says.
        StoreUnavailable: Retry.
    """
    return ForeignTopic(topic, Cluster(bootstrap_servers, client_options(options, environment)))


def topic_prefix(project: str) -> str:
    """Return what begins the names of a project's topics, with what Kafka allows in them.

    >>> topic_prefix("shop"), topic_prefix("Anna's shop")
    ('shop.', 'Anna-s-shop.')
    """
    return re.sub(r"[^A-Za-z0-9._-]", "-", project) + "."


def client_options(options: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return options of a client with the secrets that they name.

    Raises:
        ProjectError: A secret is not where an option says.
    """
    return {name: _value(name, text, environment) for name, text in options.items()}


def _value(name: str, text: str, environment: Mapping[str, str]) -> str:
    if text.startswith(_FROM_ENVIRONMENT):
        variable = text.removeprefix(_FROM_ENVIRONMENT)
        if variable not in environment:
            raise ProjectError(
                f"kafka.options: {name} is to come from the environment variable {variable}, which is not set",
                next_step=f"set {variable}",
            )
        return environment[variable]
    if text.startswith(_FROM_FILE):
        try:
            return Path(text.removeprefix(_FROM_FILE)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProjectError(f"kafka.options: cannot read {name} from its file: {error}") from error
    return text
