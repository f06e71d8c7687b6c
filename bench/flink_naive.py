"""A job for Flink's client: the customers' view as PyFlink's documentation teaches it, one event a call, by threads."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.java_gateway import get_gateway


class Customers(KeyedProcessFunction):
    """Keeps a dict per customer."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Get the state."""
        self._row = runtime_context.get_state(ValueStateDescriptor("row", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: dict[str, Any], _context: KeyedProcessFunction.Context) -> Iterator[str]:
        """Fold one event, and emit the row."""
        row = self._row.value() or {"orders": 0, "spent": 0.0, "page_views": 0, "email": None, "name": None}
        match value["type"]:
            case "OrderPlaced":
                row["orders"] += 1
                row["spent"] += float(value.get("amount", 0))
                row["last_order_at"] = value["timestamp"]
            case "PageView":
                row["page_views"] += 1
            case "UserRegistered":
                row["email"] = value["email"]
            case "ProfileUpdated":
                row[value["field"]] = value["value"]
        self._row.update(row)
        yield json.dumps(row)


def main(brokers: str, topic: str) -> None:
    """Build the job and submit it."""
    configuration = Configuration()
    configuration.set_string("python.execution-mode", "thread")
    configuration.set_string("state.backend.type", "rocksdb")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(1)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(brokers)
        .set_topics(topic)
        .set_group_id("naive")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.latest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    rows = (
        environment.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .map(json.loads)
        .key_by(lambda event: event["user_id"], Types.STRING())
        .process(Customers(), Types.STRING())
    )
    sinks = get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2
    rows._j_data_stream.sinkTo(sinks.DiscardingSink())  # noqa: SLF001 - PyFlink has no such sink
    environment.execute_async("naive")


if __name__ == "__main__":
    main(*sys.argv[1:])
