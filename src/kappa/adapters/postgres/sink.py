"""What another writer than `PostgresViewWriter` needs to write the same tables: a job's sink, which is not Python.

Statements, and rows and dead letters in the form that they copy. The rules stay here: an older row never overwrites a
newer one, a dead letter that is there stays as it is, and whoever writes must hold the newest epochs. Progress never
goes back, because a job that was restored repeats what its rows show already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kappa.adapters.postgres.database import Database, quoted
from kappa.adapters.postgres.stored_table import stored_table
from kappa.adapters.postgres.values import copied, copied_bytes, copied_integers
from kappa.adapters.postgres.view_writer import encode_origins
from kappa.model.records import DeadLetter, Progress, RowChange
from kappa.model.schema import ColumnType, ViewTable


class SinkStatements(msgspec.Struct, frozen=True, kw_only=True):
    """The statements of a sink, with `?` for parameters as JDBC has it.

    Attributes:
        create_incoming, copy, upsert: Of rows, as in `StoredTable`.
        create_letters, copy_letters, insert_letters: The same of dead letters.
        check_epochs: Of the table's name: group and epoch of each group, locked until the transaction ends.
        upsert_progress: Of the table's name, partition, next offset, watermark and origins.
    """

    create_incoming: str
    copy: str
    upsert: str
    create_letters: str
    copy_letters: str
    insert_letters: str
    check_epochs: str
    upsert_progress: str


class SinkForms(msgspec.Struct, frozen=True):
    """What a sink copies, made of what a kernel leaves.

    Attributes:
        rows: Of at least one changed row.
        dead_letters: Of at least one dead letter.
        origins: Of a partition's progress.
    """

    rows: Callable[[Sequence[RowChange]], bytes]
    dead_letters: Callable[[Sequence[DeadLetter]], bytes]
    origins: Callable[[Progress], str]


def sink_statements(table: ViewTable, *, schema_prefix: str) -> SinkStatements:
    """Return the statements that write a version's table."""
    schema = Database("", schema_prefix=schema_prefix).names.views
    stored, quoted_schema = stored_table(table, schema), quoted(schema)
    return SinkStatements(
        create_incoming=stored.create_incoming,
        copy=stored.copy,
        upsert=stored.upsert,
        create_letters=f"CREATE TEMPORARY TABLE letters (LIKE {quoted_schema}.dead_letters) ON COMMIT DELETE ROWS",
        copy_letters="COPY pg_temp.letters FROM STDIN",
        insert_letters=f"INSERT INTO {quoted_schema}.dead_letters SELECT * FROM pg_temp.letters ON CONFLICT DO NOTHING",  # noqa: S608 - quoted
        check_epochs=f"SELECT worker_group, epoch FROM {quoted_schema}.writers WHERE table_name = ?"  # noqa: S608 - quoted
        " ORDER BY worker_group FOR SHARE",
        upsert_progress=f"INSERT INTO {quoted_schema}.progress AS stored VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - quoted
        " ON CONFLICT (table_name, partition) DO UPDATE SET next_offset = excluded.next_offset,"
        " watermark_us = excluded.watermark_us, origins = excluded.origins"
        " WHERE excluded.next_offset > stored.next_offset",
    )


def sink_forms(table: ViewTable, *, schema_prefix: str) -> SinkForms:
    """Return what makes the forms that the statements copy."""
    stored = stored_table(table, Database("", schema_prefix=schema_prefix).names.views)
    return SinkForms(stored.rows_to_copy, lambda letters: _letters_to_copy(table.name, letters), encode_origins)


def _letters_to_copy(table_name: str, letters: Sequence[DeadLetter]) -> bytes:
    fields = [
        copied(ColumnType.TEXT, [table_name] * len(letters)),
        copied_integers([letter.partition for letter in letters]),
        copied_integers([letter.offset for letter in letters]),
        copied_bytes([letter.key for letter in letters]),
        copied_bytes([letter.value for letter in letters]),
        copied(ColumnType.TEXT, [letter.reason for letter in letters]),
        copied_integers([letter.event_time_us for letter in letters]),
    ]
    return ("\n".join(map("\t".join, zip(*fields, strict=True))) + "\n").encode()
