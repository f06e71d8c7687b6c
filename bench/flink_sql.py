"""A job for Flink's client: the customers' view in SQL.

With a table it gives what ours gives: checkpoints, and each row in PostgreSQL by the documented connector.
"""

from __future__ import annotations

import os
import sys

from pyflink.table import EnvironmentSettings, TableEnvironment


def main(brokers: str, topic: str, table: str = "", checkpoints: str = "", *jars: str) -> None:
    """Build the job and submit it."""
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    settings = environment.get_config()
    settings.set("parallelism.default", "1")
    settings.set("state.backend.type", "rocksdb")
    settings.set("table.exec.mini-batch.enabled", "true")
    settings.set("table.exec.mini-batch.allow-latency", "500 ms")
    settings.set("table.exec.mini-batch.size", "5000")
    if table:
        settings.set("execution.checkpointing.mode", "EXACTLY_ONCE")
        settings.set("execution.checkpointing.interval", "10 s")
        settings.set("execution.checkpointing.incremental", "true")
        settings.set("execution.checkpointing.dir", checkpoints)
        # A topic does not end; the clock would run on until the next checkpoint.
        settings.set("execution.checkpointing.checkpoints-after-tasks-finish.enabled", "false")
        settings.set("pipeline.jars", ";".join(jars))
    environment.execute_sql(
        f"""
        CREATE TABLE events (
            `type` STRING, user_id STRING, amount DECIMAL(18, 2), currency STRING, email STRING, field STRING,
            `value` STRING, `timestamp` STRING
        ) WITH (
            'connector' = 'kafka', 'properties.bootstrap.servers' = '{brokers}', 'topic' = '{topic}',
            'properties.isolation.level' = 'read_committed', 'scan.startup.mode' = 'earliest-offset',
            'scan.bounded.mode' = 'latest-offset', 'format' = 'json', 'json.ignore-parse-errors' = 'true'
        )
        """
    )
    environment.execute_sql(
        f"""
        CREATE TABLE customers (
            user_id STRING, email STRING, name STRING, city STRING, total_orders BIGINT, total_spent DECIMAL(38, 2),
            last_order_at STRING, page_views BIGINT, PRIMARY KEY (user_id) NOT ENFORCED
        ) WITH ({_jdbc(table) if table else "'connector' = 'blackhole'"})
        """
    )
    environment.execute_sql(
        """
        INSERT INTO customers SELECT
            user_id,
            LAST_VALUE(email) FILTER (WHERE `type` = 'UserRegistered'),
            LAST_VALUE(`value`) FILTER (WHERE `type` = 'ProfileUpdated' AND field = 'name'),
            LAST_VALUE(`value`) FILTER (WHERE `type` = 'ProfileUpdated' AND field = 'city'),
            COUNT(*) FILTER (WHERE `type` = 'OrderPlaced'),
            COALESCE(SUM(amount) FILTER (WHERE `type` = 'OrderPlaced' AND currency = 'EUR'), 0),
            LAST_VALUE(`timestamp`) FILTER (WHERE `type` = 'OrderPlaced'),
            COUNT(*) FILTER (WHERE `type` = 'PageView')
        FROM events GROUP BY user_id
        """
    )


def _jdbc(table: str) -> str:
    server = os.environ
    # Texts are sent without a type, so PostgreSQL reads times.
    url = f"jdbc:postgresql://{server['PGHOST']}:{server['PGPORT']}/{server['PGDATABASE']}?stringtype=unspecified"
    return f"""
        'connector' = 'jdbc', 'url' = '{url}', 'table-name' = '{table}', 'username' = '{server["PGUSER"]}',
        'password' = '{server["PGPASSWORD"]}', 'sink.buffer-flush.max-rows' = '1000',
        'sink.buffer-flush.interval' = '200 ms', 'sink.max-retries' = '5'
    """


if __name__ == "__main__":
    main(*sys.argv[1:])
