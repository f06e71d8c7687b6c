"""A whole stack on one machine, for development and tests: Kafka, PostgreSQL, a schema registry and an S3 gateway.

It starts, watches and stops processes and knows no adapter: what uses a stack is told addresses. Not for production.
"""

from kappa.stack.stack import PartStatus, Stack

__all__ = ["PartStatus", "Stack"]
