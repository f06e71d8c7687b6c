"""What is written down about a stack, in its own folder: `stack.json` (size, ports, addresses, processes) and, apart
from that, files with its secrets, which only their owner can read.

`stack.json` is replaced whole, so a reader never sees half of it. Whether its processes live is for `processes` to say.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kappa.errors import InputError
from kappa.stack import flink, postgres, s3
from kappa.stack.part import Secrets
from kappa.stack.processes import Process, write_private

_INVENTORY, _SECRETS = "stack.json", "secrets.json"
# In the form that each client reads by itself, so that no secret goes through a terminal.
_PASSWORDS, _S3_CREDENTIALS = "pgpass", "s3-credentials"


class Inventory(msgspec.Struct, kw_only=True):
    """What is known about a stack from one command to the next.

    Attributes:
        cluster_id: Kafka's id of the cluster.
        task_managers: So many of Flink's; none means that the stack has no Flink.
        ports: Port name -> port.
        addresses: Part -> what clients are given.
        processes: Part -> the process that was started last; it may have ended.
    """

    brokers: int
    cluster_id: str
    task_managers: int = 0
    ports: dict[str, int] = {}
    addresses: dict[str, str] = {}
    processes: dict[str, Process] = {}


def new_inventory(*, brokers: int) -> Inventory:
    """Return the inventory of a stack that was never up."""
    # The form of Kafka's ids. The zero byte makes it begin with A, for a leading dash would be taken for an option.
    cluster_id = base64.urlsafe_b64encode(bytes(1) + secrets.token_bytes(15)).decode().rstrip("=")
    return Inventory(brokers=brokers, cluster_id=cluster_id)


def read_inventory(folder: Path) -> Inventory | None:
    """Return what is written in a folder, or None if there is no stack.

    Raises:
        InputError: The file is not what this version of kappa writes.
    """
    file = folder / _INVENTORY
    try:
        return msgspec.json.decode(file.read_bytes(), type=Inventory)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise InputError(f"cannot read {_INVENTORY}: {error}", where=str(file)) from error


def write_inventory(folder: Path, inventory: Inventory) -> None:
    """Replace what is written in a stack's folder."""
    unfinished = folder / f"{_INVENTORY}.new"
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(inventory), indent=2))
    unfinished.replace(folder / _INVENTORY)


def keep_secrets(folder: Path) -> Secrets:
    """Return a stack's secrets, made at random when it is new."""
    file = folder / _SECRETS
    if not file.exists():
        made = Secrets(
            postgres_password=secrets.token_hex(16),
            registry_password=secrets.token_hex(16),
            s3_access_key=f"kappa{secrets.token_hex(8)}",
            s3_secret_key=secrets.token_hex(20),
        )
        write_private(folder / _PASSWORDS, f"*:*:*:{postgres.SUPERUSER}:{made.postgres_password}\n")
        write_private(
            folder / _S3_CREDENTIALS,
            f"[default]\naws_access_key_id = {made.s3_access_key}\naws_secret_access_key = {made.s3_secret_key}\n",
        )
        unfinished = folder / f"{_SECRETS}.new"
        write_private(unfinished, msgspec.json.encode(made).decode())
        unfinished.replace(file)
    return msgspec.json.decode(file.read_bytes(), type=Secrets)


def postgres_conninfo(folder: Path, inventory: Inventory) -> str:
    """Return what libpq connects with, as superuser to the database `kappa`; the password stays in a file."""
    host, _, port = inventory.addresses[postgres.NAME].partition(":")
    parameters = {
        "host": host,
        "port": port,
        "user": postgres.SUPERUSER,
        "dbname": postgres.DATABASE,
        "passfile": os.fspath(folder / _PASSWORDS),
    }
    quoted = {name: value.replace("\\", r"\\").replace("'", r"\'") for name, value in parameters.items()}
    return " ".join(f"{name}='{value}'" for name, value in quoted.items())


def client_environment(folder: Path, inventory: Inventory) -> Mapping[str, str]:
    """Return the variables that point clients at a stack: those of its parts, and kappa as the settings of a project.

    Which engine a project has is its own choice.
    """
    addresses = inventory.addresses
    host, _, port = addresses[postgres.NAME].partition(":")
    kappa = {
        "KAPPA_LOG_STORE": "kafka",
        "KAPPA_KAFKA_BOOTSTRAP_SERVERS": addresses["kafka"],
        "KAPPA_KAFKA_REPLICATION_FACTOR": str(inventory.brokers),
        "KAPPA_KAFKA_MIN_INSYNC_REPLICAS": str(min(2, inventory.brokers)),
        "KAPPA_STORAGE_STORE": "postgres",
        # All of it, for processes of Flink do not inherit what libpq reads by itself.
        "KAPPA_POSTGRES_DSN": postgres_conninfo(folder, inventory),
        "KAPPA_REGISTRY_URL": addresses["registry"],
        "KAPPA_OBJECTS_URL": f"s3://{s3.BUNDLES}",
        "KAPPA_OBJECTS_ENDPOINT_URL": addresses[s3.NAME],
    }
    if inventory.task_managers:
        kappa["KAPPA_FLINK_REST_URL"] = addresses[flink.NAME]
        kappa |= flink.client_environment(folder)
    return {
        **kappa,
        "KAFKA_BOOTSTRAP_SERVERS": addresses["kafka"],
        "PGHOST": host,
        "PGPORT": port,
        "PGUSER": postgres.SUPERUSER,
        "PGDATABASE": postgres.DATABASE,
        "PGPASSFILE": os.fspath(folder / _PASSWORDS),
        "SCHEMA_REGISTRY_URL": addresses["registry"],
        "AWS_ENDPOINT_URL_S3": addresses[s3.NAME],
        "AWS_DEFAULT_REGION": s3.REGION,
        "AWS_SHARED_CREDENTIALS_FILE": os.fspath(folder / _S3_CREDENTIALS),
    }
