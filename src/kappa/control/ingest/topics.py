"""Read another log as input: a topic that other systems write, partition by partition.

Each of its partitions is a source of its own, whose state moves with the events appended from it. So a topic is taken
once, whatever is killed; events of one key keep their order if they were in one partition there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from kappa.control.ingest.ingestion import REASONS_MAX, Ingestion, IngestReport, Target
from kappa.control.ingest.source import BLOCK_BYTES, BLOCK_PIECES_MAX, Block, Piece, SourceState
from kappa.errors import HistoryLost, InputError
from kappa.ports.log import Topic, source_name
from kappa.ports.waiting import patiently


class TopicIngestion:
    """Takes a topic into the event log."""

    def __init__(
        self,
        topic: Topic,
        into: Target,
        *,
        source: str = "",
        skip_lost: bool = False,
        pieces_max: int = BLOCK_PIECES_MAX,
    ) -> None:
        """Prepare to take what `topic` holds.

        Args:
            topic: Where events come from.
            into: Where they go.
            source: The name under which the log knows the topic; its own by default.
            skip_lost: Whether to go on behind what the topic has deleted before it was taken.
            pieces_max: How many records are appended in one transaction.
        """
        self._topic, self._into, self._source = topic, into, source or topic.name
        self._skip_lost, self._pieces_max = skip_lost, pieces_max
        self._partitions: dict[int, Ingestion] = {}

    def run(self) -> Iterator[IngestReport]:
        """Take what the topic holds behind what was taken before, and report after each transaction.

        Ends at the ends that it had when this began; called again, it goes on.

        Raises:
            InputError: None of the first records is an event, or the topic is not the one that was taken before.
            HistoryLost: The topic no longer holds what comes next.
            SourceMoved: Somebody else ingests the same topic now.
            StoreUnavailable: Waiting is no help. Run again: it goes on from where it stopped.
        """
        ends = patiently(self._into.waiter, self._topic.ends)
        starts = patiently(self._into.waiter, self._topic.starts)
        for partition, end in ends.items():
            ingestion = self._ingestion(partition)
            self._refuse_another(ingestion.state, partition, end)
            if ingestion.state.place < end:
                for _ in ingestion.run(self._blocks(partition, self._start(ingestion.state, starts[partition]), end)):
                    yield self.report(ends)
        yield self.report(ends)

    def report(self, ends: Mapping[int, int]) -> IngestReport:
        """Return how far all partitions have come together; the reasons are the first of any."""
        reports = [ingestion.report() for ingestion in self._partitions.values()]
        types: Counter[str] = Counter()
        for report in reports:
            types.update(report.types)
        return IngestReport(
            source=self._source,
            place=sum(report.place for report in reports),
            lines=sum(report.lines for report in reports),
            appended=types.total(),
            already_there=sum(report.already_there for report in reports),
            rejected=sum(report.rejected for report in reports),
            reasons=tuple(reason for report in reports for reason in report.reasons)[:REASONS_MAX],
            types=dict(sorted(types.items())),
            unfinished=False,
            end=sum(ends.values()),
        )

    def _ingestion(self, partition: int) -> Ingestion:
        if partition not in self._partitions:
            source = source_name(self._source, partition)
            self._partitions[partition] = Ingestion(source, self._into, group=self._source)
        return self._partitions[partition]

    def _refuse_another(self, state: SourceState, partition: int, end: int) -> None:
        made_anew = bool(state.fingerprint) and state.fingerprint != self._topic.identity
        if made_anew or state.place > end:
            what = "another topic of this name" if made_anew else f"partition {partition} up to offset {state.place:,}"
            raise InputError(
                f"'{self._source}' was ingested before, but what was taken then was {what}",
                next_step="if this is new input, give it a name of its own: --source NAME",
            )

    def _start(self, state: SourceState, first: int) -> int:
        # Of a topic that is new to us, what it holds no more was never ours.
        return max(state.place, first) if state.place == 0 or self._skip_lost else state.place

    def _blocks(self, partition: int, place: int, end: int) -> Iterator[Block]:
        """Yield the records of a partition from offset `place` up to `end`."""
        pieces: list[Piece] = []
        size_bytes = 0
        while place < end:
            pieces_left = self._pieces_max - len(pieces)
            try:
                batch = patiently(
                    self._into.waiter, self._topic.read, partition, place, records_max=min(pieces_left, end - place)
                )
            except HistoryLost as error:
                error.next_step = "if what it deleted may be missing here, go on behind it: --skip-lost"
                raise
            pieces += map(_piece, batch.offsets, batch.values)
            size_bytes += sum(map(len, batch.values))
            stuck, place = batch.next_offset == place, batch.next_offset
            if stuck or place >= end or len(pieces) >= self._pieces_max or size_bytes >= BLOCK_BYTES:
                yield Block(pieces, SourceState(place=place, line=place, fingerprint=self._topic.identity))
                pieces, size_bytes = [], 0
            if stuck:
                return


def _piece(offset: int, value: bytes) -> Piece:
    # Compacted topics hold such records, each a deletion; they are many, and this says what they are.
    fault = None if value else "Expected an event, got a record without a value"
    return Piece(offset, offset + 1, value, len(value), fault)
