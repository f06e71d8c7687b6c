"""Submit a job with Flink's own command line client, in the background: it takes 5 to 20 seconds.

The client runs the job's Python file, which builds the data flow, and hands the result to the cluster; it then ends,
and the job goes on without it. What it printed is kept in a file, for people and for `failures`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from kappa.adapters.flink.failures import Failure, failure_of
from kappa.errors import ProjectError

_JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")
_OUTPUT_BYTES_MAX = 200_000


class FlinkClient:
    """Flink's command line client, set up for one cluster and one kind of job."""

    def __init__(self, rest_url: str, *, job_file: Path, folder: Path, environment: Mapping[str, str]) -> None:
        """Prepare to submit.

        Args:
            rest_url: Of the cluster.
            job_file: The Python file that builds a job.
            folder: Where the client's output goes, a file each.
            environment: The client's, and so the job file's.
        """
        self._address, self._job_file, self._folder = urlsplit(rest_url).netloc, job_file, folder
        folder.mkdir(parents=True, exist_ok=True)
        # The client logs into Flink's own folder otherwise, which not everybody may write.
        self._environment = {"FLINK_LOG_DIR": str(folder), **environment}

    def submit(self, name: str, arguments: Sequence[str], *, savepoint: str) -> Submission:
        """Start submitting a job.

        Args:
            name: Of the file with what the client prints.
            arguments: Of the job file.
            savepoint: Where its state comes from; empty for none. The job owns it from then on, and deletes it.

        Raises:
            ProjectError: Flink is not installed.
        """
        restored = ["-s", savepoint, "-claimMode", "CLAIM"] if savepoint else []
        command = [
            # Not executable by itself as pip unpacks it.
            *("bash", str(_flink_home() / "bin" / "flink"), "run", "-d", "-m", self._address),
            *restored,
            *("-pyexec", sys.executable, "-pyclientexec", sys.executable, "-py", str(self._job_file), *arguments),
        ]
        return Submission(command, environment=self._environment, output=self._folder / f"{name}.submit")


class Submission:
    """One run of the client."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], output: Path) -> None:
        self._output = output
        with output.open("wb") as opened:
            # In a session of its own: Ctrl-C stops whoever waits here, and the client's children end with it.
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=opened,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the client is still at it."""
        return self._process.poll() is None

    @property
    def job_id(self) -> str | None:
        """The job's id, once the cluster has accepted it."""
        found = _JOB_ID.search(self._printed())
        return found[1] if found else None

    @property
    def failure(self) -> Failure:
        """Why it was not accepted, once the client has ended. What is final was said by kappa, in words for people."""
        failure = failure_of(self._printed())
        if failure.final:
            return failure
        return failure._replace(reason=f"it could not be submitted: {failure.reason}; see {self._output}")

    def wait(self, timeout_s: float) -> None:
        """Wait for the client's end, and force it after `timeout_s`. The job may have been accepted all the same."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _printed(self) -> str:
        with self._output.open("rb") as opened:
            opened.seek(0, os.SEEK_END)
            opened.seek(max(0, opened.tell() - _OUTPUT_BYTES_MAX))
            return opened.read().decode(errors="replace")


def _flink_home() -> Path:
    """Return where pip has put Flink. Found, not imported: that would take a second."""
    found = importlib.util.find_spec("pyflink")
    if found is None or found.origin is None:
        raise ProjectError(
            "the settings ask for Flink, which is not installed here",
            next_step="install the extra: pip install 'kappa-pipeline[flink]'",
        )
    return Path(found.origin).parent
