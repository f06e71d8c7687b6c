"""The laws of a control store about rejected input."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from kappa.ports.control import ControlStore, RejectedInput
from kappa.testing.control_laws import ControlLaws


def _rejected(source: str, place: int, *, reason: str = "expected an object") -> RejectedInput:
    return RejectedInput(source, place, place + 1, b"\xff\0", 70_000, reason)


class ControlRejectedLaws(ControlLaws):
    """What could not be ingested waits in its place."""

    def test_rejected_input_is_kept_whole(self, new_control: ControlStore) -> None:
        entry = RejectedInput("orders.ndjson", 2**40, 7, b"\xff\0{", 20_000_000, "expected UTF-8 - at `ä`")

        new_control.reject([entry])

        assert (new_control.rejected(limit=10), new_control.rejected_count()) == ([entry], 1)

    def test_rejected_input_is_listed_by_source_and_place(self, new_control: ControlStore) -> None:
        entries = [_rejected("a", 2), _rejected("a", 10), _rejected("b", 1)]
        new_control.reject([entries[2], entries[1]])
        new_control.reject([entries[0]])

        assert new_control.rejected(limit=10) == entries
        assert new_control.rejected(limit=2) == entries[:2]
        assert new_control.rejected(limit=10, source="b") == entries[2:]

    def test_rejected_input_is_listed_from_behind_a_place(self, new_control: ControlStore) -> None:
        entries = [_rejected("a", 2), _rejected("a", 10), _rejected("b", 1)]
        new_control.reject(entries)

        assert new_control.rejected(limit=10, after=("a", 2)) == entries[1:]
        assert new_control.rejected(limit=10, source="a", after=("a", 1)) == entries[:2]
        assert new_control.rejected(limit=10, after=("b", 1)) == []

    def test_input_rejected_again_replaces_what_was_there(self, new_control: ControlStore) -> None:
        new_control.reject([_rejected("a", 2, reason="first")])
        new_control.reject([_rejected("a", 2, reason="second")])

        assert new_control.rejected(limit=10) == [_rejected("a", 2, reason="second")]

    def test_accepted_input_is_forgotten(self, new_control: ControlStore) -> None:
        new_control.reject([_rejected("a", 1), _rejected("a", 2), _rejected("b", 1)])

        new_control.accept("a", 1)
        new_control.accept("a", 1)

        assert new_control.rejected(limit=10) == [_rejected("a", 2), _rejected("b", 1)]

    def test_rejected_input_outlives_its_users(self, open_control: Callable[[], ControlStore]) -> None:
        with closing(open_control()) as control:
            control.reject([_rejected("a", 1)])

        with closing(open_control()) as control:
            assert control.rejected(limit=10) == [_rejected("a", 1)]
