"""A whole stack on one machine: Kafka, PostgreSQL, the schema registry, the S3 gateway and, on request, Flink, without
containers.

A `Stack` is a folder; the object holds nothing of its own, so any number of them, in any number of processes, may look
at one folder. Only processes that were started from there are ever stopped. For development and tests: it has one disk
and one machine to lose, and no encryption. What `kappa stack` does on the command line, tests do with this class.
"""

from __future__ import annotations

import os
import signal as signals
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from kappa.errors import InputError
from kappa.stack.flink import CLUSTER, flink
from kappa.stack.flink import NAME as JOB_MANAGER
from kappa.stack.inventory import (
    Inventory,
    client_environment,
    keep_secrets,
    new_inventory,
    postgres_conninfo,
    read_inventory,
    write_inventory,
)
from kappa.stack.kafka import broker_names, brokers
from kappa.stack.launching import answers, failed, last_lines, launch
from kappa.stack.locking import locked
from kappa.stack.part import Part, Secrets, Site, Software
from kappa.stack.ports import ChosenPorts, is_free
from kappa.stack.postgres import postgres
from kappa.stack.processes import Process, kill, lives, send, start, stop
from kappa.stack.registry import registry
from kappa.stack.s3 import s3
from kappa.stack.software import Say, install, locate
from kappa.stack.tools import check_entrance, postgres_user, pyflink_missing, require_java

BROKERS, BROKERS_SMALL, TASK_MANAGERS = 3, 1, 2
# What an address stands for that is no process of its own.
_CLUSTERS = ("kafka", CLUSTER)
# A port may be taken between choosing and using it, and the children of a killed server may need a moment to end.
_ATTEMPTS_MAX, _RETRY_DELAY_S = 3, 1.0
# What parts get of the environment; the rest could hold settings for somebody else's Kafka or PostgreSQL.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "JAVA_HOME", "JDK_JAVA_OPTIONS")


class PartStatus(msgspec.Struct, frozen=True):
    """How a part is.

    Attributes:
        state: `ready`, `not-answering` (its process lives), or `stopped`.
        pid: Its process, or None if it is stopped.
    """

    name: str
    state: str
    address: str
    pid: int | None


class Stack:
    """A stack in a folder. As a context manager: up inside the block, down behind it."""

    def __init__(
        self,
        folder: Path,
        *,
        small: bool | None = None,
        task_managers: int | None = None,
        environment: Mapping[str, str] | None = None,
        say: Say = lambda _: None,
    ) -> None:
        """Prepare; nothing is started or written.

        Args:
            folder: Where the stack is, or will be.
            small: One broker instead of three. None: as it is, and three if it is new.
            task_managers: How many Flink gets; 0: no Flink. None: as it is, and no Flink if it is new.
            environment: PATH and the places of caches; by default this process's.
            say: Is told what is being done.
        """
        self.folder = folder.expanduser().resolve()
        self._small = small
        self._task_managers = task_managers
        self._environment = os.environ if environment is None else environment
        self._say = say

    def __enter__(self) -> Self:
        """Bring it up; what has started is stopped again if not all of it gets ready."""
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> Sequence[PartStatus]:
        """Bring every part up that is not, installing first what is missing in the cache.

        Raises:
            ToolMissing: A program is not on this machine, or PyFlink not in this Python.
            InstallFailed: Software could not be fetched or built.
            InputError: The folder cannot be used, or holds a stack of the other size.
            PartFailed: A part did not get ready; the others stay up.
        """
        self._check_machine()
        with self._changing():
            with_flink = bool(self._open_inventory().task_managers)
            self._bring_up(install(self._environment, say=self._say, with_flink=with_flink), only=None)
        return self.status()

    def start(self, part: str) -> None:
        """Bring one part up, and leave those alone that are down. Raises what `up` raises."""
        self._check_part(part)
        with self._changing():
            self._bring_up(locate(self._environment), only=part)

    def down(self) -> Sequence[str]:
        """Stop all parts that run, together, and return their names. What they have stored stays."""
        if read_inventory(self.folder) is None:
            return ()
        with self._changing():
            inventory = self.inventory()
            running = {name: process for name, process in inventory.processes.items() if lives(process)}
            stop(tuple(running.values()))
            inventory.processes = {}
            write_inventory(self.folder, inventory)
            return tuple(running)

    def status(self) -> Sequence[PartStatus]:
        """Say how each part is, after asking it.

        Raises:
            InputError: There is no stack in the folder.
        """
        inventory = self.inventory()
        parts = self._describe(inventory, locate(self._environment))
        return tuple(_status(part, inventory.processes.get(part.name)) for part in parts)

    def kill(self, part: str, signal: int = signals.SIGKILL) -> None:
        """Send a signal to a part's process. After SIGKILL, return when it is gone."""
        self._check_part(part)
        process = self.inventory().processes.get(part)
        if process is None:
            return
        if signal == signals.SIGKILL:
            kill((process,))
        else:
            send(process, signal)

    def address(self, part: str) -> str:
        """Return what clients are given: `host:port` or a URL. `kafka` means all brokers, `flink` its REST API."""
        self._check_part(part)
        return self.inventory().addresses[part]

    @property
    def is_new(self) -> bool:
        """Whether it was never up."""
        return read_inventory(self.folder) is None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all parts."""
        return tuple(name for name in self.inventory().addresses if name not in _CLUSTERS)

    @property
    def secrets(self) -> Secrets:
        """The stack's passwords and keys."""
        self.inventory()
        return keep_secrets(self.folder)

    @property
    def postgres_conninfo(self) -> str:
        """What libpq connects with, as superuser to the database `kappa`; the password stays in a file."""
        return postgres_conninfo(self.folder, self.inventory())

    def client_environment(self) -> Mapping[str, str]:
        """Return the variables that point clients at this stack; secrets are in files that they name."""
        return client_environment(self.folder, self.inventory())

    def log_file(self, part: str) -> Path:
        """Return where a part's output goes; that of the process before it is in `PART.before.log` beside it."""
        return self.folder / "logs" / f"{part}.log"

    def log_lines(self, part: str, *, lines_max: int) -> Sequence[str]:
        """Return the last lines of what a part has said since it was started."""
        self._check_part(part)
        return last_lines(self.log_file(part), lines_max)

    def inventory(self) -> Inventory:
        """Return what is written down about the stack.

        Raises:
            InputError: There is no stack in the folder.
        """
        inventory = read_inventory(self.folder)
        if inventory is None or not inventory.addresses:
            raise InputError("there is no stack here", where=str(self.folder), next_step="start one: kappa stack up")
        return inventory

    def _check_part(self, part: str) -> None:
        known = self.inventory().addresses
        if part not in known:
            raise InputError(
                f"no part of the stack is called '{part}'", next_step=f"choose one of: {', '.join(self.parts)}"
            )

    def _check_machine(self) -> None:
        require_java(self._environment)
        if (user := postgres_user()) is not None:
            check_entrance(user, self.folder)

    def _open_inventory(self) -> Inventory:
        wanted = BROKERS_SMALL if self._small else BROKERS
        inventory = read_inventory(self.folder) or new_inventory(brokers=wanted)
        if self._small is not None and inventory.brokers != wanted:
            raise InputError(
                f"the stack here has {inventory.brokers} brokers, not {wanted}, and a stack keeps its size",
                where=str(self.folder),
                next_step="choose another folder: kappa stack up --folder DIR",
            )
        if self._task_managers is not None:
            inventory.task_managers = self._task_managers
        return inventory

    def _describe(self, inventory: Inventory, software: Software) -> tuple[Part, ...]:
        """Return today's descriptions; ports that have none yet are chosen and put into the inventory."""
        ports = ChosenPorts(inventory.ports)
        site = Site(
            folder=self.folder,
            cluster_id=inventory.cluster_id,
            ports=ports,
            secrets=keep_secrets(self.folder),
            software=software,
            postgres_user=postgres_user(),
        )
        parts = [*brokers(site, count=inventory.brokers), postgres(site), s3(site), registry(site)]
        if inventory.task_managers:
            if software.flink is None:
                raise pyflink_missing()
            parts += flink(site, software.flink, task_managers=inventory.task_managers)
        inventory.ports = dict(ports)
        return tuple(parts)

    def _bring_up(self, software: Software, *, only: str | None) -> None:
        """Bring all parts up, or one and those that live; again, with other ports if need be, when one ends early."""
        inventory = self._open_inventory()
        living = {name for name, process in inventory.processes.items() if lives(process)}
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            parts = self._settle(inventory, software)
            ended = launch(
                [part for part in parts if only in (None, part.name) or part.name in living],
                start=lambda part: self._start(part, inventory),
                alive=lambda part: _alive(part, inventory),
                log_of=self.log_file,
                say=self._say,
            )
            if ended is None:
                return
            if attempt == _ATTEMPTS_MAX:
                raise failed(ended, f"ended {attempt} times before all was ready", self.log_file(ended.name))
            self._say(f"{ended.name}: ended before all was ready, and is started again")
            time.sleep(_RETRY_DELAY_S)

    def _settle(self, inventory: Inventory, software: Software) -> tuple[Part, ...]:
        """Return descriptions that can be started: with ports that are free, and no process of an older description."""
        for part in self._describe(inventory, software):
            if _alive(part, inventory):
                continue
            for name, port in part.ports.items():
                if not is_free(port):
                    self._say(f"{part.name}: somebody else listens on port {port}; another is chosen")
                if part.roams or not is_free(port):
                    del inventory.ports[name]
        parts = self._describe(inventory, software)
        wanted = {part.name: part.fingerprint for part in parts}
        stop([each for name, each in inventory.processes.items() if wanted.get(name) != each.fingerprint])
        inventory.processes = {name: each for name, each in inventory.processes.items() if name in wanted}
        addresses = {part.name: part.address for part in parts}
        bootstrap = ",".join(addresses[name] for name in broker_names(inventory.brokers))
        inventory.addresses = {"kafka": bootstrap, **addresses}
        if inventory.task_managers:
            inventory.addresses[CLUSTER] = addresses[JOB_MANAGER]
        write_inventory(self.folder, inventory)
        return parts

    def _start(self, part: Part, inventory: Inventory) -> None:
        inherited = {name: self._environment[name] for name in _INHERITED if name in self._environment}
        inventory.processes[part.name] = start(part, self.log_file(part.name), inherited)
        write_inventory(self.folder, inventory)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep others from changing the stack, and say so if its folder cannot be written."""
        try:
            with locked(self.folder):
                yield
        except OSError as error:
            raise InputError(f"cannot use '{error.filename or self.folder}': {error.strerror}") from error


def _alive(part: Part, inventory: Inventory) -> bool:
    process = inventory.processes.get(part.name)
    return process is not None and lives(process)


def _status(part: Part, process: Process | None) -> PartStatus:
    if process is None or not lives(process):
        return PartStatus(part.name, "stopped", part.address, None)
    return PartStatus(part.name, "ready" if answers(part) else "not-answering", part.address, process.pid)
