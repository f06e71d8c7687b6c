"""Copy the event log into a log partitioned by other key fields: the loop of a repartitioner process.

Each copy carries its origin, and how far a partition was copied is noted no earlier than its copies. Where a log cannot
do both at once, a repartitioner that was killed copies some again, and readers pass over them: so the copies of one
partition are appended in its order, without a gap. What has no key, or is too large with it, is noted as rejected.
"""

from __future__ import annotations

from collections.abc import Callable

from kappa.adapters.embedded.fold import BATCH_RECORDS_MAX
from kappa.model.decoding import Rejected
from kappa.model.records import NewRecord, Record, Source
from kappa.model.rekeying import Rekeying
from kappa.ports import Log
from kappa.ports.control import RejectedInput
from kappa.ports.log import RECORD_BYTES_MAX, copied_up_to, source_name
from kappa.ports.waiting import Waiter, patiently

# An append costs a disk flush, so a repartitioner that is behind copies several batches at once.
COPY_RECORDS_MAX = 20_000

Reject = Callable[[list[RejectedInput]], None]


class Repartitioner:
    """Copies all partitions of a source log into a target log.

    Attributes:
        positions: Source partition -> next offset to copy.
    """

    def __init__(
        self,
        source: Log,
        target: Log,
        rekeying: Rekeying,
        *,
        reject: Reject,
        waiter: Waiter,
        copy_records_max: int = COPY_RECORDS_MAX,
    ) -> None:
        self._source, self._target, self._rekeying = source, target, rekeying
        self._reject, self._waiter = reject, waiter
        self._copy_records_max = copy_records_max
        self.positions = dict(copied_up_to(source, target))

    def step(self) -> int:
        """Copy what is next in each partition, and return how many records were read.

        Raises:
            SourceMoved: Another repartitioner has taken over.
            HistoryLost: The source no longer holds what comes next.
            Stopped: While waiting for a store.
        """
        return sum(self._copy(partition) for partition in self.positions)

    def finish(self) -> None:
        """Nothing is left to do: each step was durable when it returned."""

    def _copy(self, partition: int) -> int:
        start = self.positions[partition]
        records: list[Record] = []
        position = start
        while (wanted := self._copy_records_max - len(records)) > 0:
            batch = patiently(
                self._waiter, self._source.read, partition, position, records_max=min(wanted, BATCH_RECORDS_MAX)
            )
            # Behind the last record may lie marks of the log's own.
            position = batch.next_offset
            if not len(batch):
                break
            records += batch
        if position > start:
            self._append(partition, records, position)
        return len(records)

    def _append(self, partition: int, records: list[Record], position: int) -> None:
        copies: list[NewRecord] = []
        rejected: list[RejectedInput] = []
        for record in records:
            try:
                key = self._rekeying.key_of(record.value)
            except Rejected as error:
                rejected.append(self._rejected(record, str(error)))
                continue
            if key is None:
                continue
            if (size := len(key) + len(record.value)) > RECORD_BYTES_MAX:
                reason = f"{size:,} bytes with the key that it is copied by, more than {RECORD_BYTES_MAX:,}"
                rejected.append(self._rejected(record, reason))
                continue
            copies.append(NewRecord(key, record.value, record.event_time_us, (partition, record.offset)))
        name = source_name(self._source.name, partition)
        # Rejected input first: recording it again after a crash changes nothing, losing it would.
        if rejected:
            patiently(self._waiter, self._reject, rejected)
        expected = str(self.positions[partition]) if self.positions[partition] else None
        source = Source(name, expected, str(position))
        patiently(self._waiter, self._target.append, copies, source=source)
        self.positions[partition] = position

    def _rejected(self, record: Record, reason: str) -> RejectedInput:
        return RejectedInput(
            source=f"{self._target.name} from {source_name(self._source.name, record.partition)}",
            place=record.offset,
            line=record.offset,
            value=record.value[:65536],
            size_bytes=len(record.value),
            reason=reason,
        )
