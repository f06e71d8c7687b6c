"""A job of Flink's client: what SQL can say of the customers' view, counts and sums, and its rows thrown away."""

from __future__ import annotations

import sys

from pyflink.table import EnvironmentSettings, TableEnvironment


def main(brokers: str, topic: str) -> None:
    """Build the job and submit it."""
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    settings = environment.get_config()
    settings.set("parallelism.default", "1")
    settings.set("state.backend.type", "rocksdb")
    settings.set("table.exec.mini-batch.enabled", "true")
    settings.set("table.exec.mini-batch.allow-latency", "500 ms")
    settings.set("table.exec.mini-batch.size", "5000")
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
        """
        CREATE TABLE customers (
            user_id STRING, email STRING, name STRING, city STRING, orders BIGINT, spent DECIMAL(38, 2),
            last_order_at STRING, page_views BIGINT
        ) WITH ('connector' = 'blackhole')
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
            SUM(amount) FILTER (WHERE `type` = 'OrderPlaced' AND currency = 'EUR'),
            MAX(`timestamp`) FILTER (WHERE `type` = 'OrderPlaced'),
            COUNT(*) FILTER (WHERE `type` = 'PageView')
        FROM events GROUP BY user_id
        """
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
