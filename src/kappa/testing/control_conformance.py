"""The laws of the `ControlStore` port."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import msgspec

from kappa.ports.control import ControlStore
from kappa.ports.engine import RunReport, WorkerHealth
from kappa.testing.control_bundle_laws import ControlBundleLaws
from kappa.testing.control_plan_laws import ControlPlanLaws
from kappa.testing.control_rejected_laws import ControlRejectedLaws
from kappa.testing.control_release_laws import ControlReleaseLaws
from kappa.testing.control_version_laws import ControlVersionLaws

_RUNNING = WorkerHealth(
    "users v1 group 0", "users__v1", "running", 41, 2, "killed by signal 9", rates={0: 1_000.5}, positions={0: 7, 2: 9}
)
_FAILED = WorkerHealth("users v2 group 0", "users__v2", "failed", None, 0, "")
_REPORT = RunReport(40, datetime(2026, 3, 1, 12, tzinfo=UTC), [_RUNNING, _FAILED], {"users__v2": 0.25})


class ControlStoreConformance(
    ControlVersionLaws, ControlBundleLaws, ControlReleaseLaws, ControlPlanLaws, ControlRejectedLaws
):
    """Laws of a control store. An adapter gives the fixture `open_control`: a picklable function that opens one store.

    Picklable, because some laws hold between processes: `functools.partial(SqliteControl, tmp_path / "control.db")`.
    """

    def test_a_new_store_is_empty(self, new_control: ControlStore) -> None:
        assert (new_control.versions(), new_control.bundles(), new_control.history(limit=10)) == ([], [], [])
        assert (new_control.rejected_count(), new_control.last_report()) == (0, None)

    def test_closing_twice_is_harmless(self, new_control: ControlStore) -> None:
        new_control.close()
        new_control.close()

    def test_a_report_is_there_for_others_at_once(
        self, open_control: Callable[[], ControlStore], new_control: ControlStore
    ) -> None:
        new_control.report(_REPORT)

        with closing(open_control()) as other:
            assert other.last_report() == _REPORT

    def test_a_report_replaces_the_last_one(self, new_control: ControlStore) -> None:
        new_control.report(_REPORT)
        stopped = msgspec.structs.replace(_REPORT, workers=[], shares={})

        new_control.report(stopped)

        assert new_control.last_report() == stopped
