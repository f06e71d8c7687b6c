"""A log and a control store, and a way to ingest into them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from storages import open_stores

from kappa.control.ingest import (
    AsIs,
    EventReader,
    Ingestion,
    IngestReport,
    Input,
    InputFormat,
    InputMapping,
    Retry,
    RetryReport,
    Target,
    format_of,
)
from kappa.ports import ControlStore, Log
from kappa.ports.control import RejectedInput
from kappa.testing.reading import all_batches

# So that a few thousand lines are a few blocks.
PIECES_MAX = 10_000


def target_of(log: Log, control: ControlStore, mapping: InputMapping) -> Target:
    """Where events keyed by `user_id` go, by somebody who waits for nothing."""
    return Target(log=log, control=control, reader=EventReader("user_id"), mapping=mapping, waiter=Impatient())


class Impatient:
    """Fails where others wait."""

    def wait(self, seconds: float, *, reason: str = "") -> None:
        raise AssertionError(reason)


class Intake:
    """Ingests input into a log and shows what came of it."""

    def __init__(self, log: Log, control: ControlStore, folder: Path) -> None:
        self.log, self.control = log, control
        self.file = folder / "events.ndjson"
        self.mapping: InputMapping = AsIs()

    def ingest(
        self, content: bytes | None = None, *, file: Path | None = None, source: str | None = None
    ) -> IngestReport:
        """Ingest a file, written anew if there is content."""
        file = file or self.file
        if content is not None:
            file.write_bytes(content)
        return self._run(Input(file, format_of(file), source or str(file), PIECES_MAX), b"")

    def pipe(self, content: bytes, *, source: str, format_: InputFormat = InputFormat.NDJSON) -> IngestReport:
        """Ingest standard input."""
        return self._run(Input(None, format_, source, PIECES_MAX), content)

    def _run(self, given: Input, standard_input: bytes) -> IngestReport:
        ingestion = Ingestion(given.source, target_of(self.log, self.control, self.mapping))
        *_, report = ingestion.run(given.blocks(ingestion.state, standard_input=io.BytesIO(standard_input)))
        return report

    def retry(self) -> RetryReport:
        """Try all rejected input again, with the mapping that is set."""
        retry = Retry(log=self.log, control=self.control, reader=EventReader("user_id"), mapping=lambda _: self.mapping)
        *_, report = retry.all()
        return report

    def values(self) -> list[bytes]:
        """Return all events in the log, partition by partition."""
        return [value for batch in all_batches(self.log) for value in batch.values]

    def rejected(self) -> list[RejectedInput]:
        """Return all rejected input."""
        return list(self.control.rejected(limit=10_000))

    def reasons(self) -> list[str]:
        """Return why input was rejected."""
        return [entry.reason for entry in self.rejected()]


@pytest.fixture
def intake(tmp_path: Path, storage: str) -> Iterator[Intake]:
    with open_stores(tmp_path, partitions=4) as stores:
        yield Intake(stores.events, stores.control, tmp_path)
