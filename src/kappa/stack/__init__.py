"""A whole stack on one machine, for development and tests: Kafka, PostgreSQL, a schema registry, S3 and Flink.

It starts, watches and stops processes and knows no adapter: what uses a stack is told addresses. Not for production.
"""

from kappa.stack.stack import TASK_MANAGERS, PartStatus, Stack

__all__ = ["TASK_MANAGERS", "PartStatus", "Stack"]
