"""The REST API of a Flink cluster: what a JobManager says about jobs, and what it is asked to do with them.

One request, one answer, a time limit on each; it keeps nothing and decides nothing. Whatever goes wrong on the way is
`StoreUnavailable`: a JobManager that restarts is asked again.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from kappa.errors import StoreUnavailable

# A JobManager answers from memory. Whoever polls must not be held up by one that hangs.
_TIMEOUT_S = 3.0
_ANSWER_BYTES_MAX = 16 * 1024 * 1024
_NEXT_STEP = "see whether its JobManager runs, and check flink.rest_url in kappa.toml"
# A job in one of these states never works again.
_STATE_KEYS = frozenset({"execution.checkpointing.dir", "state.checkpoints.dir"})
ENDED = frozenset({"FAILED", "CANCELED", "FINISHED"})

T = TypeVar("T")


class Tasks(msgspec.Struct, frozen=True):
    """How many subtasks a job has, how many of them work, and how many have nothing more to do."""

    total: int = 0
    running: int = 0
    finished: int = 0


class Job(
    msgspec.Struct,
    frozen=True,
    rename={"id": "jid", "started_ms": "start-time", "changed_ms": "last-modification"},
):
    """A job as the overview shows it.

    Attributes:
        state: As Flink calls it: RUNNING says nothing about its tasks.
        started_ms: Milliseconds since 1970.
        changed_ms: When its state was last another.
    """

    id: str
    name: str
    state: str
    started_ms: int
    changed_ms: int
    tasks: Tasks

    @property
    def ended(self) -> bool:
        """Whether it never works again."""
        return self.state in ENDED

    @property
    def at_work(self) -> bool:
        """Whether all of its subtasks work."""
        tasks = self.tasks
        return self.state == "RUNNING" and tasks.running + tasks.finished == tasks.total > 0


class Vertex(msgspec.Struct, frozen=True):
    """Operators chained into one task; in the order of the data flow."""

    id: str
    name: str
    parallelism: int


class Checkpoint(
    msgspec.Struct,
    frozen=True,
    rename={
        "ended_ms": "latest_ack_timestamp",
        "duration_ms": "end_to_end_duration",
        "location": "external_path",
    },
):
    """A completed checkpoint.

    Attributes:
        id: Rises from one to the next.
        ended_ms: Milliseconds since 1970.
        state_size: Of the whole state, in bytes.
        checkpointed_size: Of what this one had to write.
        location: Where it is, if it is kept when the job is cancelled.
    """

    id: int
    ended_ms: int
    duration_ms: int
    state_size: int
    checkpointed_size: int = 0
    location: str = ""


class Savepoint(msgspec.Struct, frozen=True):
    """How far a savepoint is that was asked for.

    Attributes:
        done: Whether it is over, well or not.
        location: Where it is; empty unless it went well.
        failure: What Flink said; empty unless it went wrong.
    """

    done: bool
    location: str = ""
    failure: str = ""


class Capacity(msgspec.Struct, frozen=True, rename={"task_managers": "taskmanagers", "slots": "slots-total"}):
    """How many TaskManagers a cluster has, and how many slots they have together."""

    task_managers: int
    slots: int


class FlinkRest:
    """A JobManager's REST API."""

    def __init__(self, url: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        """Prepare to ask; nothing is asked yet. `url` is like `http://127.0.0.1:8081`."""
        self._url, self._timeout_s = url.rstrip("/"), timeout_s
        # A cluster is asked directly, whatever proxy is configured for the rest of the world.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def jobs(self) -> Sequence[Job]:
        """Return all jobs that the cluster knows, ended ones of the last hour too."""
        return self._get("/jobs/overview", _Overview).jobs

    def capacity(self) -> Capacity:
        """Return how many slots the cluster has, free or not."""
        return self._get("/overview", Capacity)

    def has_state_folder(self) -> bool:
        """Say whether the cluster's own settings name a folder for checkpoints."""
        return any(entry.key in _STATE_KEYS and entry.value for entry in self._get("/jobmanager/config", list[_Entry]))

    def restarts(self, job_id: str) -> int:
        """Return how often Flink has started a job again, as it was at most 3 seconds ago.

        From the attempts of a subtask: all are started together. The metric `numRestarts` has been seen to stand still.
        """
        source, *_ = self.vertices(job_id)
        subtasks = self._get(f"/jobs/{job_id}/vertices/{source.id}", _Vertex).subtasks
        return max((subtask.attempt for subtask in subtasks), default=0)

    def failure(self, job_id: str) -> str:
        """Return why a job failed last, as a stack trace; empty if it never did."""
        entries = self._get(f"/jobs/{job_id}/exceptions?maxExceptions=1", _Exceptions).history.entries
        return entries[0].stacktrace if entries else ""

    def vertices(self, job_id: str) -> Sequence[Vertex]:
        """Return a job's tasks, in the order of the data flow."""
        return self._get(f"/jobs/{job_id}", _Detail).vertices

    def parameters(self, job_id: str) -> Mapping[str, str]:
        """Return what a job was given to be shown."""
        return self._get(f"/jobs/{job_id}/config", _JobConfig).execution.parameters

    def vertex_metrics(self, job_id: str, vertex_id: str, names: Sequence[str]) -> Mapping[str, float]:
        """Return metrics of a task: of each, the largest of all subtasks. If one was not reported, all are missing."""
        return self.metrics(f"/jobs/{job_id}/vertices/{vertex_id}/subtasks", names)

    def metrics(self, path: str, names: Sequence[str]) -> Mapping[str, float]:
        """Return metrics of what is at `path`. One that nobody has reported, or that is no number, is missing."""
        answer = self._get(f"{path}/metrics?get={','.join(names)}", list[_Metric])
        found = {metric.id: metric.number for metric in answer}
        return {name: number for name, number in found.items() if number is not None}

    def last_checkpoint(self, job_id: str) -> Checkpoint | None:
        """Return the newest completed checkpoint, or None before the first."""
        return self._get(f"/jobs/{job_id}/checkpoints", _Checkpoints).latest.completed

    def checkpoint_wait_ms(self, job_id: str, checkpoint_id: int, vertex_id: str) -> int:
        """Return how long a checkpoint waited in a task for its barriers: the most of all subtasks.

        Raises:
            StoreUnavailable: Also if the cluster has forgotten the checkpoint: it remembers the last ten.
        """
        path = f"/jobs/{job_id}/checkpoints/details/{checkpoint_id}/subtasks/{vertex_id}"
        summary = self._get(path, _CheckpointInTask).summary
        return summary.start_delay.max + summary.alignment.duration.max

    def checkpoint_interval_s(self, job_id: str) -> float:
        """Return the time from one checkpoint to the next, in seconds."""
        return self._get(f"/jobs/{job_id}/checkpoints/config", _CheckpointConfig).interval_ms / 1_000

    def stop(self, job_id: str, *, folder: str) -> str:
        """Ask a job to stop behind a savepoint, and return the request's id for `savepoint`.

        Args:
            job_id: The job. All its tasks must run: else the savepoint fails, and the job goes on.
            folder: Where the savepoint goes; empty for what the cluster's own settings say.
        """
        # The native format copies files of the state instead of reading it all; it can be restored at any parallelism.
        request = {"drain": False, "formatType": "NATIVE", **({"targetDirectory": folder} if folder else {})}
        return self._ask("POST", f"/jobs/{job_id}/stop", _Triggered, request).id

    def savepoint(self, job_id: str, request_id: str) -> Savepoint | None:
        """Return how far a savepoint is that `stop` asked for; None if the cluster knows nothing of it any more."""
        try:
            answer = self._get(f"/jobs/{job_id}/savepoints/{request_id}", _SavepointAnswer)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == HTTPStatus.NOT_FOUND:
                return None
            raise
        if answer.status.get("id") != "COMPLETED":
            return Savepoint(done=False)
        operation = answer.operation or _Operation()
        cause = operation.failure.get("stack-trace") or "no reason was given"
        return Savepoint(True, operation.location, "" if operation.location else cause)

    def cancel(self, job_id: str) -> None:
        """Ask a job to end without a savepoint. Idempotent."""
        self._ask("PATCH", f"/jobs/{job_id}?mode=cancel", Any)

    def dispose(self, location: str) -> None:
        """Ask the cluster to delete a savepoint or a checkpoint; it does so in the background."""
        self._ask("POST", "/savepoint-disposal", _Triggered, {"savepoint-path": location})

    def _get(self, path: str, kind: type[T]) -> T:
        return self._ask("GET", path, kind)

    def _ask(self, method: str, path: str, kind: type[T], content: object = None) -> T:
        request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
            self._url + path,
            method=method,
            data=None if content is None else msgspec.json.encode(content),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return msgspec.json.decode(response.read(_ANSWER_BYTES_MAX), type=kind)
        except urllib.error.HTTPError as error:
            with error:
                raise self._unavailable(_said(error.read(_ANSWER_BYTES_MAX)) or str(error)) from error
        except urllib.error.URLError as error:
            raise self._unavailable(str(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        except msgspec.MsgspecError as error:
            raise self._unavailable(f"the answer is not that of a JobManager: {error}") from error

    def _unavailable(self, cause: str) -> StoreUnavailable:
        return StoreUnavailable(store=f"Flink at {self._url}", cause=cause, next_step=_NEXT_STEP)


def _said(answer: bytes) -> str:
    """Return the message in an answer that reports an error, without class names and stack trace; or nothing."""
    try:
        errors = msgspec.json.decode(answer, type=_Errors).errors
    except msgspec.MsgspecError:
        return ""
    first = next((line for error in errors for line in error.splitlines()), "")
    name, _, message = first.partition(": ")
    return message if " " not in name else first


class _Overview(msgspec.Struct):
    jobs: list[Job]


class _Detail(msgspec.Struct):
    vertices: list[Vertex]


class _Subtask(msgspec.Struct):
    attempt: int


class _Vertex(msgspec.Struct):
    subtasks: list[_Subtask]


class _Entry(msgspec.Struct):
    key: str
    value: str = ""


class _Failure(msgspec.Struct):
    stacktrace: str = ""


class _History(msgspec.Struct):
    entries: list[_Failure] = []


class _Exceptions(msgspec.Struct):
    history: _History = msgspec.field(name="exceptionHistory", default_factory=_History)


class _Metric(msgspec.Struct):
    id: str
    value: str = ""
    max: float | str | None = None

    @property
    def number(self) -> float | None:
        """The value; none if it is not a number, which Flink says of busy time while a task starts."""
        try:
            number = float(self.value if self.max is None else self.max)
        except ValueError:
            return None
        return number if number == number else None  # noqa: PLR0124 - NaN is what does not equal itself


class _Latest(msgspec.Struct):
    completed: Checkpoint | None = None


class _Checkpoints(msgspec.Struct):
    latest: _Latest


class _Longest(msgspec.Struct):
    max: int


class _Alignment(msgspec.Struct):
    duration: _Longest


class _CheckpointSummary(msgspec.Struct):
    alignment: _Alignment
    start_delay: _Longest


class _CheckpointInTask(msgspec.Struct):
    summary: _CheckpointSummary


class _CheckpointConfig(msgspec.Struct, rename={"interval_ms": "interval"}):
    interval_ms: int


class _Execution(msgspec.Struct, rename={"parameters": "user-config"}):
    parameters: dict[str, str] = {}


class _JobConfig(msgspec.Struct, rename={"execution": "execution-config"}):
    execution: _Execution = msgspec.field(default_factory=_Execution)


class _Triggered(msgspec.Struct, rename={"id": "request-id"}):
    id: str


class _Operation(msgspec.Struct, rename={"failure": "failure-cause"}):
    location: str = ""
    failure: dict[str, Any] = {}


class _SavepointAnswer(msgspec.Struct):
    status: dict[str, str]
    operation: _Operation | None = None


class _Errors(msgspec.Struct):
    errors: list[str]
