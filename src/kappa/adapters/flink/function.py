"""The Python function of a job, as PyFlink's thread mode runs it: Flink's state around a fold.

It runs in the process of a TaskManager, which outlives jobs, so nothing is left in modules. PyFlink calls `close` only
at the end of input: whatever is opened here ends with the object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import msgspec
from pyflink.common import Types
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from kappa.adapters.flink.fold import States, SubtaskFold
from kappa.adapters.flink.throttle import Throttle
from kappa.errors import KappaError

# How the text of an error begins that a restart would only repeat; the Java side looks for it.
FINAL = "FINAL: "

_PROGRESS_KEY = b""

_encode = msgspec.msgpack.Encoder().encode
_decode_states = msgspec.msgpack.Decoder(dict[bytes, bytes]).decode


class Opened(msgspec.Struct, frozen=True):
    """What a subtask works with.

    Attributes:
        fold: Folds.
        throttle: Keeps it to its share of the time.
    """

    fold: SubtaskFold
    throttle: Throttle


class FoldFunction(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink's, which has no types
    """Takes bundles, keyed by partition, and yields commits."""

    def __init__(self, open_fold: Callable[[States], Opened]) -> None:
        """Prepare to be sent to a TaskManager; `open_fold` is called there."""
        self._open_fold = open_fold

    def open(self, runtime_context: RuntimeContext) -> None:
        """Open what the subtask works with."""
        states = FlinkStates(runtime_context)
        try:
            self._opened = self._open_fold(states)
        except KappaError as error:
            _fail(error)
        self._take = self._opened.fold.take

    def process_element(self, value: bytes, _context: KeyedProcessFunction.Context) -> Iterator[bytes]:
        """Fold a bundle or flush, and yield the commit if there is one."""
        began = time.monotonic()
        try:
            commit = self._take(value)
        except KappaError as error:
            _fail(error)
        if commit is not None:
            yield commit
        self._opened.throttle.pause(time.monotonic() - began)


class FlinkStates:
    """The state of Flink's current key, which is the partition at hand, read and written many keys at a time."""

    def __init__(self, runtime_context: RuntimeContext) -> None:
        """Take the states; they follow Flink's current key."""
        from pemja import findClass  # noqa: PLC0415 - only inside a TaskManager

        self._bridge: Any = findClass("kappa.flink.StateBridge")
        self._rows = self._map(runtime_context, "rows")
        self._progress = self._map(runtime_context, "progress")

    @staticmethod
    def _map(runtime_context: RuntimeContext, name: str) -> Any:
        descriptor = MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        # The Java object: PyFlink's own would convert one key at a time.
        return runtime_context.get_map_state(descriptor)._state  # noqa: SLF001

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the state of those keys that have one."""
        return _decode_states(self._bridge.getAll(self._rows, _encode(keys)))

    def put_many(self, states: Mapping[bytes, bytes | None]) -> None:
        """Store states; None deletes one."""
        self._bridge.putAll(self._rows, _encode(states))

    def progress(self) -> bytes | None:
        """Return what `put_progress` stored last, if anything."""
        return _decode_states(self._bridge.getAll(self._progress, _encode([_PROGRESS_KEY]))).get(_PROGRESS_KEY)

    def put_progress(self, progress: bytes) -> None:
        """Store the partition's own progress."""
        self._bridge.putAll(self._progress, _encode({_PROGRESS_KEY: progress}))


def _fail(error: KappaError) -> NoReturn:
    hint = f"; next: {error.next_step}" if error.next_step else ""
    raise RuntimeError(f"{'' if error.retryable else FINAL}{error.message}{hint}") from error
