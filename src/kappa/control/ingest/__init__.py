"""Bring events from files and topics into the log.

A source is read in pieces (`lines`, `rows`, `topics`), a mapping makes events of them, `Ingestion` appends those, and
`Retry` tries again what was rejected.
"""

from kappa.control.ingest.envelope import EventReader
from kappa.control.ingest.ingestion import Ingestion, IngestReport, Target
from kappa.control.ingest.inputs import Input, InputFormat, format_of
from kappa.control.ingest.mapping import AsIs, AsType, ByFunction, InputMapping, MappingParts, resolve_mapping
from kappa.control.ingest.retry import Retry, RetryReport
from kappa.control.ingest.topics import TopicIngestion
from kappa.control.ingest.validation import validation

__all__ = [
    "AsIs",
    "AsType",
    "ByFunction",
    "EventReader",
    "IngestReport",
    "Ingestion",
    "Input",
    "InputFormat",
    "InputMapping",
    "MappingParts",
    "Retry",
    "RetryReport",
    "Target",
    "TopicIngestion",
    "format_of",
    "resolve_mapping",
    "validation",
]
