"""What one process of a stack is: a description, which starts nothing.

A description is a value made of other values (ports, secrets, places of programs), so it can be compared: a process
that runs from another description than today's is started again. What acts on descriptions is `launching`.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

HOST = "127.0.0.1"  # nothing of a stack can be reached from another machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of a stack.

    Attributes:
        script: For /bin/sh, in the part's folder. It prepares what is missing there, and ends with `exec`, so that the
            process that was started is the part itself.
        environment: What the script gets beside PATH and its like.
        folder: The part's own; nobody else writes there.
        files: File name -> text, written into the folder before each start, readable by nobody else.
        ports: Port name -> port, all those that the process listens on.
        address: What clients are given.
        answers: Whether this part, and not just anybody, answers at its port now. Raises OSError as sockets do.
        needs: The parts that must be ready before this one is started.
        roams: Whether each start is at other ports, because others hold a former process at its address against it.
        stop_signal: What asks it to end in good order, clients or not.
        user: Who runs it, or None for whoever runs the stack.
    """

    name: str
    script: str
    environment: Mapping[str, str]
    folder: Path
    ports: Mapping[str, int]
    address: str
    answers: Callable[[], bool]
    files: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    roams: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    user: str | None = None

    @property
    def fingerprint(self) -> str:
        """What tells whether a process runs from this description."""
        what = (self.script, sorted(self.environment.items()), str(self.folder), sorted(self.files.items()), self.user)
        return hashlib.sha256(msgspec.json.encode(what)).hexdigest()


class Secrets(msgspec.Struct, frozen=True):
    """The passwords and keys of one stack: random, in files that only their owner reads, never printed."""

    postgres_password: str
    registry_password: str
    s3_access_key: str
    s3_secret_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlinkSoftware:
    """Where Flink is, and what jobs need there.

    Attributes:
        home: PyFlink's package, which holds a whole distribution.
        python: The interpreter that jobs run in.
        modules: Folders from which jobs import PyFlink and kappa.
        modules_hash: What tells whether kappa is the one that a process has imported.
        connectors: A folder of jars: connectors and drivers.
        bridge: A folder with the jar of kappa's own operators.
        plugins: A folder of plug-ins: S3.
    """

    home: Path
    python: Path
    modules: tuple[Path, ...]
    modules_hash: str
    connectors: Path
    bridge: Path
    plugins: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """Where the programs are that a stack runs; whether they are there yet is for `software` to say."""

    kafka: Path  # a folder of jars
    registry: Path  # the unpacked distribution
    gateway: Path  # an executable
    postgres: Path  # the folder of initdb and postgres
    flink: FlinkSoftware | None  # None: this Python has no PyFlink


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that the descriptions of one stack are made of.

    Attributes:
        cluster_id: Kafka's id of the cluster, fixed when its disks are formatted.
        ports: Port name -> port, for every name that is asked for.
        postgres_user: Who runs PostgreSQL, which refuses to run as root; None for whoever runs the stack.
    """

    folder: Path
    cluster_id: str
    ports: Mapping[str, int]
    secrets: Secrets
    software: Software
    postgres_user: str | None = None
