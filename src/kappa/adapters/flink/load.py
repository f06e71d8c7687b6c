"""Measure where a job's time goes, from the metrics that Flink keeps. What follows from it is decided in `planning`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from kappa.adapters.flink.rest import Checkpoint, FlinkRest, Vertex
from kappa.errors import StoreUnavailable
from kappa.ports.engine import CheckpointLoad, JobLoad, OperatorLoad
from kappa.ports.profiles import ProfileName

# Some requests per task and three more; Flink itself collects metrics every few seconds.
_INTERVAL_S = 5.0
_BUSY, _IDLE, _BACKPRESSURED = "busyTimeMsPerSecond", "idleTimeMsPerSecond", "backPressuredTimeMsPerSecond"
_BUFFERS_IN = "Shuffle.Netty.Input.Buffers.inPoolUsage"
_BUFFERS_OUT = "Shuffle.Netty.Output.Buffers.outPoolUsage"


class LoadMeter:
    """Measures one version's job every few seconds.

    Attributes:
        load: What was measured last, or None.
    """

    def __init__(self, rest: FlinkRest) -> None:
        """Prepare to measure; nothing is asked yet."""
        self.load: JobLoad | None = None
        self._rest = rest
        self._measured_at = float("-inf")
        self._uptime_ms: float | None = None
        self._checkpoint: CheckpointLoad | None = None
        self._seen: tuple[str, int] | None = None

    def measure(self, job_id: str, *, profile: ProfileName) -> None:
        """Measure a job that works by a profile, unless that was done just now.

        Raises:
            StoreUnavailable: The cluster does not answer.
        """
        if time.monotonic() - self._measured_at < _INTERVAL_S:
            return
        self._measured_at = time.monotonic()
        uptime_ms = self._rest.metrics(f"/jobs/{job_id}", ["uptime"]).get("uptime")
        if uptime_ms == self._uptime_ms:
            # A JobManager that lost a TaskManager while it collected metrics may never collect any again.
            self.load = None
            return
        self._uptime_ms = uptime_ms
        vertices = self._rest.vertices(job_id)
        operators = [self._operator(job_id, vertex) for vertex in vertices]
        checkpoint = self._rest.last_checkpoint(job_id)
        if checkpoint is not None and (job_id, checkpoint.id) != self._seen:
            # It may be forgotten by now, if checkpoints are short; then the next one is taken.
            with contextlib.suppress(StoreUnavailable):
                self._checkpoint = self._weighed(job_id, checkpoint, vertices)
                self._seen = job_id, checkpoint.id
        self.load = JobLoad(operators, self._checkpoint, profile)

    def _operator(self, job_id: str, vertex: Vertex) -> OperatorLoad:
        times = self._rest.vertex_metrics(job_id, vertex.id, [_BUSY, _IDLE, _BACKPRESSURED])
        buffers = self._rest.vertex_metrics(job_id, vertex.id, [_BUFFERS_IN, _BUFFERS_OUT])
        return OperatorLoad(
            vertex.name,
            vertex.parallelism,
            *(times.get(name, 0.0) for name in (_BUSY, _IDLE, _BACKPRESSURED)),
            *(buffers.get(name) for name in (_BUFFERS_IN, _BUFFERS_OUT)),
        )

    def _weighed(self, job_id: str, checkpoint: Checkpoint, vertices: Sequence[Vertex]) -> CheckpointLoad:
        waits_ms = [self._rest.checkpoint_wait_ms(job_id, checkpoint.id, vertex.id) for vertex in vertices]
        ended_at = datetime.fromtimestamp(checkpoint.ended_ms / 1_000, UTC)
        before, growth = self._checkpoint, None
        if before is not None and (elapsed_s := (ended_at - before.ended_at).total_seconds()) > 0:
            growth = (checkpoint.state_size - before.state_bytes) / elapsed_s
        return CheckpointLoad(
            ended_at=ended_at,
            duration_s=checkpoint.duration_ms / 1_000,
            interval_s=self._rest.checkpoint_interval_s(job_id),
            state_bytes=checkpoint.state_size,
            written_bytes=checkpoint.checkpointed_size,
            growth_bytes_per_s=growth,
            waited_s=max(waits_ms) / 1_000,
        )
