"""The job of one version over all its lives: submitted, at work, restarted by Flink, lost with its JobManager, stopped.

Flink restarts a job whose machines die; this submits it again when the cluster has forgotten it. It goes by what the
cluster says, not by what it did itself: a job of the right name is the version's, whoever submitted it.

A version far behind its log starts in the profile `replay`, which commits rarely; once it has caught up it is stopped
behind a savepoint and goes on in the profile `live`. A job that works by another profile than the settings now say is
changed likewise.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from kappa.adapters.flink.failures import failure_of
from kappa.adapters.flink.rest import FlinkRest, Job
from kappa.adapters.flink.savepoints import SavepointNotes
from kappa.adapters.flink.submit import FlinkClient, Submission
from kappa.errors import ProjectError, StoreUnavailable
from kappa.ports import Version
from kappa.ports.objects import ObjectStore
from kappa.ports.profiles import LIVE_LAG_MAX, Profile, Profiles

# A job's name tells in which profile it was submitted, whoever adopts it.
REPLAY_SUFFIX = " replay"
# Of a job: its profile, as `profile_text` gives it.
PROFILE_PARAMETER = "kappa.profile"
RESUBMIT_DELAY_S, RESUBMIT_DELAY_MAX_S = 1.0, 60.0
# A job that was at work so long was healthy: its next end starts counting from one.
HEALTHY_AFTER_S = 60.0
# For a submission to end, and then the job, which may wait for a store.
STOP_TIMEOUT_S = 120.0
_STOP_POLL_S = 0.1
# Losing a TaskManager costs a restart or two; a state that cannot be read never gets further.
_RESTORE_ATTEMPTS_MAX = 3
# A cluster lists a job a moment after its client was told so.
_LISTED_AFTER_S = 5.0
# What the cluster says about attempts and failures may be 3 seconds old.
_CACHED_S, _SETTLED_AFTER_S = 4.0, 10.0
_LAG_INTERVAL_S = 5.0


def job_name(project: str, table: str) -> str:
    """Return what the job of a version's table is called while it is live.

    >>> job_name("shop", "user_profile__v1")
    'kappa shop user_profile__v1'
    """
    return f"kappa {project} {table}"


def profile_text(profile: Profile) -> str:
    """Return a profile as a job is submitted with it, and as the cluster tells it."""
    return msgspec.json.encode(profile).decode()


class Cluster(NamedTuple):
    """What jobs are run with.

    Attributes:
        rest: What the cluster says.
        client: Submits.
        notes: Where savepoints are.
        state_url: Where checkpoints and savepoints go; empty for what the cluster's settings say.
        profiles: How they work.
        lag: How many records a version has not folded yet.
        open_folder: Opens a folder of the cluster's checkpoints by its URL; None if only the cluster can.
    """

    rest: FlinkRest
    client: FlinkClient
    notes: SavepointNotes
    state_url: str
    profiles: Profiles
    lag: Callable[[Version], int]
    open_folder: Callable[[str], ObjectStore | None]

    @property
    def savepoint_folder(self) -> str:
        """Where savepoints go; empty for what the cluster's settings say."""
        return f"{self.state_url.rstrip('/')}/savepoints" if self.state_url else ""


class VersionJob:
    """One version's job.

    Attributes:
        version: The version.
        job_id: Its id in the cluster, if it is there.
        profile: What it works by, or was to when it was submitted last.
        state, detail: As in `WorkerHealth`.
    """

    def __init__(self, version: Version, *, project: str, cluster: Cluster) -> None:
        """Start nothing yet; the first `look` does."""
        self.version, self.state, self.detail = version, "starting", ""
        self.job_id: str | None = None
        self._name = job_name(project, version.table.name)
        self._cluster, self._profiles = cluster, cluster.profiles.of(version.table)
        self.profile = self._profiles.live
        self._submission: Submission | None = None
        # Which the job began with, until it is at work.
        self._savepoint = ""
        # The request for the one behind which it stops, to go on by another profile.
        self._turning: str | None = None
        self._misshapen = False
        self._submitted_at = self._start_at = self._healthy_since = self._measured_at = time.monotonic()
        # When the job last went from one state to another, as the cluster says and when that was noticed.
        self._changed_ms, self._changed_at = 0, 0.0
        self._failures = self._restarts_before = self._restarts = 0

    @property
    def restarts(self) -> int:
        """How often it was started again, by Flink or by this."""
        return self._restarts_before + self._restarts

    def look(self, jobs: Sequence[Job]) -> None:
        """Take in what the cluster lists, and do what is due.

        Raises:
            StoreUnavailable: The cluster, or a store, does not answer. Retry.
            ProjectError: Flink is not installed.
        """
        if self.state in ("failed", "stopped"):
            return
        if self._submission is not None:
            self._follow_submission(self._submission)
        elif self._turning is not None and self.job_id is not None:
            self._follow_turning(self.job_id, self._turning, jobs)
        elif self.job_id is None:
            # One that was cancelled may take a moment to end.
            if mine := [job for job in self._own(jobs) if job.state != "CANCELLING"]:
                self._adopt(mine)
            elif time.monotonic() >= self._start_at:
                self._submit()
        elif (job := next((job for job in jobs if job.id == self.job_id), None)) is not None:
            self._look_at(job)
        elif time.monotonic() - self._submitted_at > _LISTED_AFTER_S:
            self._start_again("the cluster had forgotten the job, as it does when its JobManager is restarted")

    def stop(self) -> None:
        """End the job and delete its checkpoints: whoever starts it again goes on from what is committed. Idempotent.

        Raises:
            StoreUnavailable: The cluster does not answer, or the job does not end. Retry.
        """
        if self._submission is not None:
            self._submission.wait(STOP_TIMEOUT_S)
            self._submission = None
        rest, deadline = self._cluster.rest, time.monotonic() + STOP_TIMEOUT_S
        ended = set[str]()
        while jobs := self._own(rest.jobs()):
            for job in jobs:
                ended.add(job.id)
                # It may have ended meanwhile, which Flink calls an error.
                with contextlib.suppress(StoreUnavailable):
                    rest.cancel(job.id)
            if time.monotonic() > deadline:
                raise StoreUnavailable(store=f"job '{self._name}'", cause="it does not end")
            time.sleep(_STOP_POLL_S)
        if ended:
            time.sleep(_CACHED_S)  # before that, the cluster may not tell of the last checkpoint
        for job_id in ended:
            checkpoint = rest.last_checkpoint(job_id)
            if checkpoint is not None and checkpoint.location and not self._clear(checkpoint.location, job_id):
                rest.dispose(checkpoint.location)

    def detach(self) -> None:
        """Let the job go on by itself; one that is being submitted may or may not come to be."""
        if self._submission is not None:
            self._submission.wait(0)
            self._submission = None

    def _clear(self, checkpoint: str, job_id: str) -> bool:
        """Delete all that an ended job has left in its folder of checkpoints, and say whether that could be done.

        Flink deletes what a checkpoint refers to, and forgets what a task had stored for one that the end cut off.
        """
        folder, _, _ = checkpoint.rstrip("/").rpartition("/")
        files = self._cluster.open_folder(folder) if folder.endswith(f"/{job_id}") else None
        if files is None:
            return False
        with contextlib.closing(files):
            try:
                for key in files.keys():  # noqa: SIM118 - not a mapping
                    files.delete(key)
            except StoreUnavailable:  # it may not be ours to delete
                return False
        return True

    @property
    def _replaying(self) -> bool:
        """Whether it is to go on live."""
        return self.profile.name == "replay" and self._profiles.choice == "auto"

    def _own(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the version's jobs that have not ended, oldest first: none or one, or two submitted at once."""
        names = (self._name, self._name + REPLAY_SUFFIX)
        return sorted((job for job in jobs if job.name in names and not job.ended), key=lambda job: job.started_ms)

    def _adopt(self, mine: Sequence[Job]) -> None:
        rest = self._cluster.rest
        *older, newest = mine
        for job in older:  # fenced by the newest
            rest.cancel(job.id)
        self.profile = self._profiles.chosen("replay" if newest.name.endswith(REPLAY_SUFFIX) else "live")
        self._misshapen = rest.parameters(newest.id).get(PROFILE_PARAMETER) != profile_text(self.profile)
        self.job_id = newest.id
        self._look_at(newest)

    def _submit(self) -> None:
        table = self.version.table
        if not self._cluster.state_url and not self._cluster.rest.has_state_folder():
            raise ProjectError(
                "flink.state_url is empty, and the cluster has no folder for checkpoints of its own",
                next_step="set flink.state_url in kappa.toml, for example to s3://BUCKET/flink",
            )
        self._savepoint = self._cluster.notes.find(table.name, job=self._name)
        self.profile, *_ = self._profiles.ahead(self._cluster.lag(self.version))
        arguments = [table.view, str(table.version), profile_text(self.profile)]
        self._submission = self._cluster.client.submit(table.name, arguments, savepoint=self._savepoint)

    def _follow_submission(self, submission: Submission) -> None:
        if submission.running:
            return
        self._submission, self._submitted_at = None, time.monotonic()
        self.job_id = submission.job_id
        if self.job_id is None:
            failure = submission.failure
            if failure.final:
                self._fail(failure.reason)
            else:
                self._start_again(failure.reason)

    def _look_at(self, job: Job) -> None:
        self._count_restarts(job)
        if job.at_work:
            self._at_work(job)
        else:
            self._not_at_work(job)

    def _not_at_work(self, job: Job) -> None:
        rest = self._cluster.rest
        if self.state == "running":
            self.state = "restarting"
        failure = failure_of(trace) if (trace := rest.failure(job.id)) else None
        if failure is not None:
            self.detail = failure.reason
        if failure is not None and failure.final:
            if not job.ended:
                rest.cancel(job.id)
            self._fail(failure.reason)
        elif failure is not None and failure.out_of_range and not job.ended:
            # Flink would begin at the same offset for ever. What is committed is further, behind the marks of
            # transactions at least. If the log has lost what follows that too, the client says so, which is final.
            rest.cancel(job.id)
            self._start_again(f"its log no longer holds where it was to go on: {failure.reason}")
        elif job.state == "FAILED":
            # What it died of may be told later than that it died.
            if time.monotonic() - self._changed_at > _CACHED_S:
                self._start_again(self.detail)
        elif job.ended:
            self.state, self.detail = "stopped", "somebody else ended the job in the cluster"
        elif self._savepoint and self._restarts >= _RESTORE_ATTEMPTS_MAX:
            rest.cancel(job.id)
            self._start_again(self.detail)

    def _count_restarts(self, job: Job) -> None:
        now = time.monotonic()
        if job.changed_ms != self._changed_ms:
            self._changed_ms, self._changed_at = job.changed_ms, now
        if now - self._changed_at < _SETTLED_AFTER_S:
            self._restarts = max(self._restarts, self._cluster.rest.restarts(job.id))

    def _at_work(self, job: Job) -> None:
        now = time.monotonic()
        if self.state != "running":
            self.state, self._healthy_since = "running", now
        if now - self._healthy_since >= HEALTHY_AFTER_S:
            self._failures = 0
        if self._savepoint:
            # The job has read it, owns it, and deletes it in time.
            self._cluster.notes.forget(self.version.table.name)
            self._savepoint = ""
        if (self._replaying or self._misshapen) and now - self._measured_at >= _LAG_INTERVAL_S:
            self._measured_at = now
            if self._misshapen or self._cluster.lag(self.version) <= LIVE_LAG_MAX:
                self._turning = self._cluster.rest.stop(job.id, folder=self._cluster.savepoint_folder)

    def _follow_turning(self, job_id: str, request_id: str, jobs: Sequence[Job]) -> None:
        """Submit the job by its other profile once the savepoint is there. If it fails, the job has gone on."""
        savepoint = self._cluster.rest.savepoint(job_id, request_id)
        if savepoint is None:
            # A JobManager that is started again has forgotten the request; the job goes on if there is another one.
            self._turning = None
            if not any(job.id == job_id and not job.ended for job in jobs):
                self._start_again("the cluster had forgotten the job when it was to go on by another profile")
        elif savepoint.done:
            self._turning = None
            if savepoint.location:
                # Without the note it goes on from committed progress; it must go on.
                with contextlib.suppress(StoreUnavailable):
                    self._cluster.notes.keep(self.version.table.name, job=self._name, location=savepoint.location)
                self.state, self.detail = "starting", ""
                self.job_id, self._start_at, self._misshapen = None, time.monotonic(), False

    def _start_again(self, reason: str) -> None:
        """Plan the next submission; without the savepoint, if the last one began with it and never worked."""
        if self._savepoint:
            reason = f"savepoint {self._savepoint} cannot be restored, so it starts from committed progress: {reason}"
            self._cluster.notes.forget(self.version.table.name)
            self._savepoint = ""
        self.state, self.detail, self.job_id = "restarting", reason, None
        self._start_at = time.monotonic() + min(RESUBMIT_DELAY_S * 2**self._failures, RESUBMIT_DELAY_MAX_S)
        self._failures += 1
        self._restarts_before, self._restarts = self.restarts + 1, 0

    def _fail(self, reason: str) -> None:
        self.state, self.detail = "failed", reason
