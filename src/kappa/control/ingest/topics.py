"""Read another log as input: a topic that other systems write, partition by partition.

Each of its partitions is a source of its own, whose state moves with the events appended from it. So a topic is taken
once, whatever is killed; events of one key keep their order if they were in one partition there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kappa.control.ingest.envelope import EventReader
from kappa.control.ingest.ingestion import REASONS_MAX, Ingestion, IngestReport
from kappa.control.ingest.mapping import InputMapping
from kappa.control.ingest.source import BLOCK_PIECES_MAX, Block, Piece, SourceState
from kappa.ports import ControlStore, Log
from kappa.ports.log import source_name


class TopicIngestion:
    """Takes a topic into the event log."""

    def __init__(
        self, topic: Log, *, log: Log, control: ControlStore, reader: EventReader, mapping: InputMapping
    ) -> None:
        """Prepare to append what `topic` holds to `log`; the other arguments are those of `Ingestion`."""
        self._topic = topic
        self._partitions = {
            partition: Ingestion(
                source_name(topic, partition), log=log, control=control, reader=reader, mapping=mapping
            )
            for partition in range(topic.partition_count)
        }

    def run(self) -> Iterator[IngestReport]:
        """Take what the topic holds behind what was taken before, and report after each transaction.

        Ends at the ends that it had when this began; called again, it goes on.

        Raises:
            HistoryLost: The topic no longer holds what comes next.
            SourceMoved: Somebody else ingests the same topic now.
            StoreUnavailable: Run again: it goes on from where it stopped.
        """
        ends = self._topic.ends()
        for partition, ingestion in self._partitions.items():
            for _ in ingestion.run(read_partition(self._topic, partition, ingestion.state, end=ends[partition])):
                yield self.report()

    def report(self) -> IngestReport:
        """Return how far all partitions have come together; the reasons are the first of any."""
        reports = [ingestion.report() for ingestion in self._partitions.values()]
        types: Counter[str] = Counter()
        for report in reports:
            types.update(report.types)
        return IngestReport(
            source=self._topic.name,
            place=sum(report.place for report in reports),
            lines=sum(report.lines for report in reports),
            appended=types.total(),
            already_there=sum(report.already_there for report in reports),
            rejected=sum(report.rejected for report in reports),
            reasons=tuple(reason for report in reports for reason in report.reasons)[:REASONS_MAX],
            types=dict(sorted(types.items())),
            unfinished=False,
        )


def read_partition(topic: Log, partition: int, state: SourceState, *, end: int) -> Iterator[Block]:
    """Yield the records of a partition from where `state` stands up to offset `end`."""
    place = state.place
    pieces: list[Piece] = []
    while place < end:
        batch = topic.read(partition, place, records_max=BLOCK_PIECES_MAX - len(pieces))
        pieces += [
            Piece(offset, offset + 1, value, len(value))
            for offset, value in zip(batch.offsets, batch.values, strict=True)
        ]
        stuck, place = batch.next_offset == place, batch.next_offset
        if stuck or place >= end or len(pieces) >= BLOCK_PIECES_MAX:
            yield Block(pieces, SourceState(place=place, line=place))
            pieces = []
        if stuck:
            return
