"""The one place that opens a registry with Confluent's API, and the one translation of what its client raises.

Confluent's own client is used because its deserialisers need it: so there is one connection, one set of options and one
cache. A schema that an id stands for never changes, so it is asked for once; while the registry is away, those serve.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

from kappa.errors import ProjectError, StoreUnavailable

# Of one request. A registry answers within milliseconds; beyond this somebody waits at a terminal, or a log stands.
_TIMEOUT_S = 5.0
# The caller decides whether to wait longer: it knows what waits with it.
_RETRIES_MAX = 1
# Of the two names of its HTTP library the client prefers the newer, and so must we: each has errors of its own.
_HTTP: Any = import_module("httpx2" if find_spec("httpx2") else "httpx")
SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND = 40401, 40402, 40403
_FAULT_OF_SERVER = 500
_TOO_MANY_REQUESTS = 429


def connect(url: str, credentials: str) -> SchemaRegistryClient:
    """Return a client; nothing is asked yet. `credentials` are USER:PASSWORD, or empty.

    Raises:
        ProjectError: The address holds credentials, or the client refuses it or them.
    """
    if "@" in url:  # errors name the address, and must not show a password
        raise ProjectError("registry.url holds credentials", next_step="put them into KAPPA_REGISTRY_CREDENTIALS")
    conf: dict[str, Any] = {"url": url, "timeout": _TIMEOUT_S, "max.retries": _RETRIES_MAX}
    if credentials:
        conf["basic.auth.user.info"] = credentials
    try:
        return SchemaRegistryClient(conf)
    except (ValueError, TypeError, OSError) as error:
        raise ProjectError(f"[registry]: {error}", next_step="see docs/configuration.md") from error


@contextmanager
def registry_errors(url: str) -> Iterator[None]:
    """Translate what the client raises while a block asks the registry at `url`."""
    try:
        yield
    except (_HTTP.HTTPError, OAuthTokenError) as error:
        cause = str(error) or type(error).__name__
        raise StoreUnavailable(store=f"the schema registry at {url}", cause=cause, next_step=_NEXT_STEP) from error
    except SchemaRegistryError as error:
        cause = f"{error.error_message} (HTTP {error.http_status_code})"
        unavailable = StoreUnavailable(store=f"the schema registry at {url}", cause=cause, next_step=_NEXT_STEP)
        unavailable.retryable = (
            error.http_status_code >= _FAULT_OF_SERVER or error.http_status_code == _TOO_MANY_REQUESTS
        )
        raise unavailable from error


_NEXT_STEP = "check that it runs, and [registry] in kappa.toml"
