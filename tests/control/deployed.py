"""Two versions of one view in real stores, folded to any position by the kernel, without worker processes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from storages import open_stores

from kappa import Event, View, count, distinct, latest, on, total
from kappa.control.code import ViewCode
from kappa.model.kernel import Kernel
from kappa.model.records import NewRecord, Progress
from kappa.model.schema import ViewTable
from kappa.model.views import view_spec
from kappa.ports import Version
from kappa.testing.accounts import EVENTS, Account, Deposited, Renamed
from kappa.testing.reading import batches_before

PARTITIONS = 3
AT = datetime(2026, 3, 1, tzinfo=UTC)


class Unheard(Event):
    """What version 1 does not know."""

    account: str


class AccountToo(View, key="account"):
    """The next version of `Account`: another balance, a column more, some less, an event type less and another more."""

    deposits: int = count(Deposited)
    balance: Decimal = total(Deposited.amount, where=Deposited.note != "n1")
    notes: int = distinct(Deposited.note)
    last_at: datetime | None = latest(Deposited.timestamp)
    names: list[str] = []  # noqa: RUF012 - a view's default is copied for each row
    unheard: int = count(Unheard)

    @on(Renamed)
    def renamed(self, event: Renamed) -> None:
        """No name is refused any more."""
        self.names = [*self.names, event.name]


CODES = {
    1: ViewCode(Account, EVENTS),
    2: ViewCode(AccountToo, (*EVENTS, Unheard)),
}


class Deployed:
    """A log, and versions that fold it as far as a test says."""

    def __init__(
        self,
        folder: Path,
        records: Iterable[NewRecord] = (),
        *,
        codes: Mapping[int, ViewCode] = CODES,
        partitions: int = PARTITIONS,
    ) -> None:
        self._app = open_stores(folder, partitions=partitions)
        self.log, self.store, self.control = self._app.events, self._app.views, self._app.control
        self.log.append(list(records))
        self.codes = codes
        self.versions = {number: self._version(number, code) for number, code in codes.items()}
        for version in self.versions.values():
            self.store.create(version.table)

    def code(self, version: Version) -> ViewCode:
        return self.codes[version.table.version]

    def fold(self, number: int, position: Mapping[int, int] | None = None) -> None:
        """Fold a version on to a position, by default to the end of the log, in one commit."""
        table, ends = self.versions[number].table, self.log.ends()
        with self.store.writer(table, 0, epoch=1) as writer:
            code = self.codes[number]
            kernel = Kernel(code.view, events=code.events, load=writer.get_many, rows_max=10_000)
            progress = {
                partition: self._fold_partition(
                    kernel, partition, done.next_offset, (position or ends).get(partition, 0)
                )
                for partition, done in writer.progress().items()
            }
            writer.commit(kernel.take_changes(), progress)

    def _fold_partition(self, kernel: Kernel, partition: int, start: int, end: int) -> Progress:
        for batch in batches_before(self.log, partition, end, start=start):
            kernel.fold(batch)
        return Progress(max(start, end))

    def _version(self, number: int, code: ViewCode) -> Version:
        spec = view_spec(code.view)
        return Version(
            table=ViewTable("account", number, spec.key_columns, spec.columns, "events", self.log.partition_count, 1),
            fingerprint=f"f{number}",
            parts={},
            bundle="b",
            expectations=spec.expect,
            created_at=AT,
            seeded=True,
        )

    def close(self) -> None:
        self._app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def replayed(
    code: ViewCode, deployed: Deployed, partition: int, end: int, keys: Collection[bytes] | None = None
) -> dict[bytes, Any]:
    """Return the rows (columns and offset) that a partition's first records give, from scratch: the oracle."""
    kernel = Kernel(code.view, events=code.events, load=lambda _: {}, rows_max=10_000, store_empty=True)
    for batch in batches_before(deployed.log, partition, end):
        kernel.fold(batch)
    rows = kernel.take_changes().rows
    return {row.key: (row.columns, row.offset) for row in rows if keys is None or row.key in keys}
