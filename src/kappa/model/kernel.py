"""The kernel: folds batches of records into changed rows and dead letters. Every engine calls this, none has its own.

It does no I/O of its own, reads no clock and starts no thread. Rows it has seen stay in memory, the least recently used
leave first; only rows whose changes were taken may leave, so the caller takes changes when the kernel is `full`.
"""

from __future__ import annotations

import decimal
import re
import traceback
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from kappa.errors import DefinitionError
from kappa.model.codegen import FoldCode, fold_code
from kappa.model.decoding import Decoding
from kappa.model.events import Event
from kappa.model.records import Changes, DeadLetter, RecordBatch, RowChange
from kappa.model.schema import BadKey, ColumnType, decode_key
from kappa.model.types import field_type
from kappa.model.values import FRESH, NOT_EXACT, Rejected, raised
from kappa.model.views import OFFSET, View, view_spec

_REASON_CHARACTERS_MAX = 500
_MODEL = __file__.removesuffix("kernel.py")

# Returns the committed state of those keys that have a row.
Load = Callable[[Sequence[bytes]], Mapping[bytes, bytes]]


class Kernel:
    """Folds the records of one partition group for one view.

    Use: `fold` batch after batch, each partition's in log order; `take_changes` and write them; go on.
    """

    def __init__(
        self,
        view: type[View],
        *,
        events: Collection[type[Event]],
        load: Load,
        rows_max: int,
        store_empty: bool = False,
    ) -> None:
        """Prepare to fold.

        Args:
            view: The view to fold into.
            events: All event types of the project; those that the view does not fold are read past.
            load: Reads committed state. Called once per batch at most.
            rows_max: How many rows may stay in memory.
            store_empty: The caller knows that no row of this group exists yet, so a first replay looks for none.
        """
        spec = view_spec(view)
        self._view = view
        self._key_columns = spec.key_columns
        self._decoding = Decoding(spec, events)
        # Written anew for the first records, which tell what comes most often.
        self._code = fold_code(view, self._decoding)
        self._fresh = True
        self._columns = columns_function(view)
        self._load = load
        self._rows_max = rows_max
        self._decode_state = msgspec.msgpack.Decoder(view).decode
        self._encode_state = msgspec.msgpack.Encoder().encode
        # Two generations approximate "least recently used" at no cost per event: what is not used while `hot` fills
        # up is dropped with `cold`. None marks a key that is known to have no row.
        self._hot: dict[bytes, Any] = {}
        self._cold: dict[bytes, Any] = {}
        self._all_rows_in_memory = store_empty
        # Per partition: keys changed since the last commit, and the first offset folded since.
        self._changed: dict[int, list[bytes]] = {}
        self._base: dict[int, int] = {}
        # Rows that were loaded ahead of the batch that needed them, from a seed that is newer than its position: key ->
        # their offset then. The loop takes such a row for one that has changed already.
        self._ahead: dict[bytes, int] = {}
        self._dead: list[DeadLetter] = []

    @property
    def full(self) -> bool:
        """Whether the caller should take and write the changes now, so that rows can leave memory."""
        return len(self._hot) >= self._rows_max // 2

    def fold(self, batch: RecordBatch) -> None:
        """Fold one batch. Records that cannot be folded become dead letters; the others of their keys go on.

        An event at or before its row's own position is in the row already and passed over, so a version may start from
        rows that are newer than the position it resumes from.

        Raises:
            DefinitionError: The user's code changes how the events after its own are computed.
        """
        if not batch.offsets:
            return
        if self._fresh:
            self._fresh = False
            self._code = fold_code(self._view, self._decoding, batch.values)
        self._fetch(batch)
        partition = batch.partition
        base = self._base.setdefault(partition, batch.offsets[0])
        changed = self._changed.setdefault(partition, [])

        def dead(offset: int, key: bytes | None, value: bytes, error: Exception) -> None:
            event_time_us = batch.event_times_us[bisect_left(batch.offsets, offset)]
            self._dead.append(DeadLetter(partition, offset, key, value, _reason(error, self._code), event_time_us))

        columns = batch.offsets, batch.keys, batch.values, batch.event_times_us
        with decimal.localcontext(FRESH) as context:
            self._code.fold_batch(*columns, self._hot, base, changed, self._new_row, dead)
            if decimal.getcontext() is not context or _settings(context) != _FRESH_SETTINGS:
                raise _changed_context(self._view)
        if self._ahead:
            self._note_overtaken(batch.keys, base, changed)

    def take_changes(self) -> Changes:
        """Return everything that changed since the last call, to be written in one transaction.

        The caller must not fold on before it is written, or must throw the kernel away.
        """
        encode, columns, hot = self._encode_state, self._columns, self._hot
        with decimal.localcontext(FRESH):  # even the text of a Decimal depends on it
            rows = [
                RowChange(key, columns(row := hot[key]), encode(row), partition, getattr(row, OFFSET))
                for partition, changed in self._changed.items()
                for key in changed
            ]
        rows.sort(key=_key_of)
        changes = Changes(rows, self._dead)
        self._changed, self._base, self._dead = {}, {}, []
        if self.full:
            self._all_rows_in_memory = self._all_rows_in_memory and not self._cold
            self._cold, self._hot = self._hot, {}
        return changes

    def forget(self) -> None:
        """Drop all rows from memory, so that they are loaded anew: somebody else has changed them meanwhile."""
        assert not self._changed, "changes that were not taken would be lost"
        self._hot, self._cold, self._ahead = {}, {}, {}
        self._all_rows_in_memory = False

    def row(self, key: bytes) -> Any:
        """Return the row of a key that is in memory, or None; a row is none before its first event."""
        row = self._hot.get(key)
        return None if row is None or getattr(row, OFFSET) < 0 else row

    def _note_overtaken(self, keys: Sequence[bytes | None], base: int, changed: list[bytes]) -> None:
        """Note as changed the rows that were ahead and have been folded on."""
        for key in self._ahead.keys() & set(keys):
            if getattr(self._hot[key], OFFSET) != (loaded := self._ahead[key]):
                del self._ahead[key]
                if loaded >= base:
                    changed.append(key)

    def _fetch(self, batch: RecordBatch) -> None:
        """Bring the rows of a batch's keys into `hot`."""
        if self._all_rows_in_memory and not self._cold:
            return
        missing = [key for key in set(batch.keys).difference(self._hot) if key is not None]
        if self._cold:
            self._hot |= {key: self._cold.pop(key) for key in missing if key in self._cold}
            missing = [key for key in missing if key not in self._hot]
        if missing and not self._all_rows_in_memory:
            self._hot |= dict.fromkeys(missing)
            loaded = {key: self._decode_state(state) for key, state in self._load(missing).items()}
            first = batch.offsets[0]
            self._ahead |= {key: at for key, row in loaded.items() if (at := getattr(row, OFFSET)) >= first}
            self._hot |= loaded

    def _new_row(self, key: bytes | None) -> Any:
        if key is None:
            raise Rejected("the record has no key")
        try:
            values = decode_key(key, self._key_columns)
        except BadKey as error:
            raise Rejected(str(error)) from None
        return self._view(**{column.name: value for column, value in zip(self._key_columns, values, strict=True)})


def _settings(context: decimal.Context) -> tuple[Any, ...]:
    limits = context.Emin, context.Emax, context.capitals, context.clamp
    return context.prec, context.rounding, *limits, {signal for signal, trapped in context.traps.items() if trapped}


_FRESH_SETTINGS = _settings(FRESH)


def _changed_context(view: type[View]) -> DefinitionError:
    spec = view_spec(view)
    return DefinitionError(
        f"view {view.__name__}: a handler or an upcaster has changed the decimal context for the events after its own",
        next_step="change it inside `with decimal.localcontext():`",
        where=spec.place,
    )


def _key_of(change: RowChange) -> bytes:
    return change.key


def columns_function(view: type[View]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a generated function that takes a row's public columns, key columns first, JSON as text."""
    spec = view_spec(view)
    columns = (*spec.key_columns, *spec.columns)
    parts = []
    for column in columns:
        value = f"row.{column.name}"
        kind = field_type(spec.hints[column.name])
        if column.type is ColumnType.JSON:
            text = f"to_json({value}).decode()"
            value = f"None if {value} is None else {text}" if kind.nullable else text
        elif not kind.has_scalar_base:
            value = f"to_plain({value})"
        parts.append(value)
    names = {"to_json": msgspec.json.Encoder().encode, "to_plain": msgspec.to_builtins}
    function: Callable[[Any], tuple[Any, ...]] = eval(f"lambda row: ({', '.join(parts)},)", names)  # noqa: S307 - ours
    return function


def _reason(error: Exception, code: FoldCode) -> str:
    """Say why a record was set aside: the same words in every run, and the user's line if there is one."""
    text = str(error) if isinstance(error, Rejected) else _reason_of_exception(error, code)
    # Whatever is no text in every store is shown as its escape.
    plain = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", lambda found: repr(found[0])[1:-1], text)
    return plain[:_REASON_CHARACTERS_MAX]


def _reason_of_exception(error: Exception, code: FoldCode) -> str:
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    [(_, line), *_] = [frame for frame in frames if frame[0].co_filename == code.file]
    users = [
        frame for frame in frames if not frame[0].co_filename.startswith(_MODEL) and frame[0].co_filename != code.file
    ]
    if not users:
        said = NOT_EXACT if isinstance(error, decimal.DecimalException) else raised(error)
        return f"{code.subject(line)}: {said}"
    handler, place = users[0]
    if not isinstance(error, RecursionError):  # which ends where the stack does: the line would not always be the same
        place = [line for user, line in users if user.co_filename == handler.co_filename][-1]
    return f"{handler.co_name} {raised(error)} ({handler.co_filename.rpartition('/')[2]}:{place})"
