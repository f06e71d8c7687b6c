"""Bring rows of one version into the shape of another: fields that are taken over, and those that the author makes.

What to do is decided in `planning.migration`; here it is done, row by row. What an author's function returns is checked
like what a handler leaves, and the first row that does not pass refuses the whole seed.
"""

from __future__ import annotations

import decimal
from collections.abc import Generator, Mapping
from typing import Any

import msgspec

from kappa.control.advance import Advance
from kappa.control.sample_check import KeySample
from kappa.control.seed_writer import SeedWriter, dead_letter
from kappa.errors import SeedRefused
from kappa.model.kernel import columns_function
from kappa.model.migrations import Migrator
from kappa.model.records import RowChange
from kappa.model.schema import encode_key
from kappa.model.types import field_type
from kappa.model.values import FRESH, Rejected, raised, settle
from kappa.model.views import OFFSET, SEEN, View, view_spec
from kappa.planning.migration import Migration, state_of_fold
from kappa.ports import Snapshot, StoredRow


class Migrating:
    """Makes rows of the view `new` of rows of the view `old`.

    Attributes:
        dead_letter_count: How many were taken over.
    """

    doubt = "the migration does not equal a replay"

    def __init__(self, old: type[View], new: type[View], migration: Migration) -> None:
        spec = view_spec(new)
        self._new, self._spec, self._migration = new, spec, migration
        self._decode = msgspec.msgpack.Decoder(old).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._columns = columns_function(new)
        self._old_fields = _declared(old)
        self._settle = {name: settle(field_type(spec.hints[name]), f"`{name}`") for name in _declared(new)}
        # The author cannot know what a fold keeps beside its value, so that the two would not agree.
        with_state = {name for name in spec.folds if state_of_fold(spec, name)}
        self._not_for_authors = {*spec.key, *with_state}
        self.dead_letter_count = 0
        self._sample = KeySample()

    def write(self, snapshot: Snapshot, writer: SeedWriter) -> Generator[Advance, None, None]:
        """Write a group's rows and dead letters. They may be newer than its progress: so are those of the new version.

        Raises:
            SeedRefused: As `row`.
        """
        for letter in snapshot.dead_letters:
            writer.add_dead_letter(dead_letter(letter))
            self.dead_letter_count += 1
        for stored in snapshot.rows:
            row = self.row(stored)
            self._sample.add(row.key)
            writer.add(row)
            yield from writer.advance()

    def sample(self, keys_max: int) -> list[bytes]:
        """Return keys to compare with a replay."""
        return self._sample.keys[:keys_max]

    def row(self, stored: StoredRow) -> RowChange:
        """Return the new row of an old one.

        Raises:
            SeedRefused: The author's function raises, or returns what the row cannot hold.
        """
        old = self._decode(stored.state)
        fields = {name: getattr(old, source) for name, source in self._migration.sources.items()}
        if (migrator := self._migration.migrator) is not None:
            try:
                fields |= self._made(migrator, stored, fields)
            except Rejected as error:
                key = ", ".join(map(str, stored.columns[: len(self._spec.key)]))
                raise SeedRefused(
                    view=self._spec.name,
                    reason=f"{migrator.name}, for the key {key}: {error}",
                    next_step=f"correct {migrator.name} and plan again: kappa plan",
                ) from error
        row = self._new(**fields)
        with decimal.localcontext(FRESH):  # even the text of a Decimal depends on it
            columns, state = self._columns(row), self._encode(row)
        key_bytes = encode_key(columns[: len(self._spec.key)])
        return RowChange(key_bytes, columns, state, stored.partition, stored.offset, stored.step, stored.due_us)

    def _made(self, migrator: Migrator, stored: StoredRow, carried: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that the author's function gives for a row, checked."""
        old = self._decode(stored.state)  # its own copy, for the function may change lists in place
        given = {name: getattr(old, name) for name in self._old_fields}
        try:
            with decimal.localcontext(FRESH):
                returned = migrator.function(given)
        except Exception as error:
            raise Rejected(f"it {raised(error)}") from error
        if not isinstance(returned, Mapping):
            raise Rejected(f"expected a dict of the new row's fields, got `{type(returned).__name__}`")
        fields = {}
        for name, value in returned.items():
            if name not in self._settle:
                raise Rejected(f"it returns `{name}`, which the view does not have; leave it out")
            fields[name] = self._settle[name](value)
            if name in self._not_for_authors and not (name in carried and fields[name] == carried[name]):
                raise Rejected(f"it returns another `{name}`, which only events can change; leave it out")
        return fields


def _declared(view: type[View]) -> list[str]:
    """Return the fields that an author knows of: key, folds and all others, without what the kernel keeps beside."""
    spec = view_spec(view)
    hidden = {state for name in spec.folds for state in state_of_fold(spec, name)} | {SEEN, OFFSET}
    return [name for name in spec.hints if name not in hidden]
