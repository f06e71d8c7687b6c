"""A job for Flink's client: the customers' view as PyFlink's documentation teaches it, one event a call, by threads.

With a table it gives what ours gives: checkpoints, and each row in PostgreSQL by the documented sink and its options.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pyflink.common import Configuration, Row, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.base import Sink
from pyflink.datastream.connectors.jdbc import JdbcConnectionOptions, JdbcExecutionOptions
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.util.java_utils import to_jarray

NEW_ROW = {
    "email": None, "name": None, "city": None, "total_orders": 0, "total_spent": Decimal(0), "last_order_at": None,
    "page_views": 0,
}  # fmt: skip
COLUMNS = ["user_id", *NEW_ROW]
TEXT, NUMBER = Types.STRING(), Types.LONG()
ROW_TYPE = Types.ROW_NAMED(COLUMNS, [TEXT, TEXT, TEXT, TEXT, NUMBER, Types.BIG_DEC(), TEXT, NUMBER])


class Customers(KeyedProcessFunction):
    """Keeps a dict per customer."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Get the state."""
        self._row = runtime_context.get_state(ValueStateDescriptor("row", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: dict[str, Any], _context: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Fold one event, and emit the row."""
        row = self._row.value() or dict(NEW_ROW)
        match value["type"]:
            case "OrderPlaced":
                row["total_orders"] += 1
                if value["currency"] == "EUR":
                    row["total_spent"] += Decimal(value["amount"])
                row["last_order_at"] = value["timestamp"]
            case "PageView":
                row["page_views"] += 1
            case "UserRegistered":
                row["email"] = value["email"]
            case "ProfileUpdated":
                row[value["field"]] = value["value"]
        self._row.update(row)
        yield Row(value["user_id"], *row.values())


def main(brokers: str, topic: str, table: str = "", checkpoints: str = "", *jars: str) -> None:
    """Build the job and submit it."""
    environment = StreamExecutionEnvironment.get_execution_environment(_configuration(checkpoints))
    environment.set_parallelism(1)
    environment.add_jars(*jars)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(brokers)
        .set_topics(topic)
        .set_group_id("naive")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.latest())
        .set_property("isolation.level", "read_committed")
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    rows = (
        environment.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .map(json.loads)
        .key_by(lambda event: event["user_id"], Types.STRING())
        .process(Customers(), ROW_TYPE)
    )
    rows.sink_to(_upsert(table) if table else _discard())
    environment.execute_async("naive")


def _configuration(checkpoints: str) -> Configuration:
    settings = {"python.execution-mode": "thread", "state.backend.type": "rocksdb"}
    if checkpoints:
        settings |= {
            "execution.checkpointing.mode": "EXACTLY_ONCE",
            "execution.checkpointing.interval": "10 s",
            "execution.checkpointing.incremental": "true",
            "execution.checkpointing.dir": checkpoints,
            # A topic does not end; the clock would run on until the next checkpoint.
            "execution.checkpointing.checkpoints-after-tasks-finish.enabled": "false",
        }
    configuration = Configuration()
    for name, value in settings.items():
        configuration.set_string(name, value)
    return configuration


def _upsert(table: str) -> Sink:
    """Return what PyFlink's own `JdbcSink.sink` means: it fails with Flink 2, whose connector has other names."""
    jdbc = get_gateway().jvm.org.apache.flink.connector.jdbc
    marks = ", ".join("?" for _ in COLUMNS)
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in NEW_ROW)
    sql = f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES ({marks}) ON CONFLICT (user_id) DO UPDATE SET {changes}"
    execution = JdbcExecutionOptions.builder()
    execution.with_batch_size(1_000).with_batch_interval_ms(200).with_max_retries(5)
    server = os.environ
    # Texts are sent without a type, so PostgreSQL reads times.
    url = f"jdbc:postgresql://{server['PGHOST']}:{server['PGPORT']}/{server['PGDATABASE']}?stringtype=unspecified"
    connection = (
        JdbcConnectionOptions.JdbcConnectionOptionsBuilder()
        .with_url(url)
        .with_driver_name("org.postgresql.Driver")
        .with_user_name(server["PGUSER"])
        .with_password(server["PGPASSWORD"])
        .build()
    )
    builder = jdbc.core.datastream.sink.JdbcSink.builder()
    builder.withQueryStatement(sql, _statement_builder(jdbc))
    builder.withExecutionOptions(execution.build()._j_jdbc_execution_options)  # noqa: SLF001 - as PyFlink does
    return Sink(builder.buildAtLeastOnce(connection._j_jdbc_connection_options))  # noqa: SLF001


def _statement_builder(jdbc: Any) -> Any:
    """Return what puts a row into a statement, which PyFlink also gets by reflection."""
    jvm = get_gateway().jvm
    java_types = [each.get_java_type_info() for each in ROW_TYPE.get_field_types()]
    types = to_jarray(jvm.int, [jdbc.utils.JdbcTypeUtil.typeInformationToSqlType(each) for each in java_types])
    loader = jvm.Thread.currentThread().getContextClassLoader()
    owner = jvm.Class.forName("org.apache.flink.connector.jdbc.internal.RowJdbcOutputFormat", False, loader)
    method = owner.getDeclaredMethod("createRowJdbcStatementBuilder", to_jarray(jvm.Class, [types.getClass()]))
    method.setAccessible(True)
    return method.invoke(None, to_jarray(jvm.Object, [types]))


def _discard() -> Sink:
    """Return Java's sink that does nothing; PyFlink has none."""
    return Sink(get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink())


if __name__ == "__main__":
    main(*sys.argv[1:])
