package kappa.flink;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.typeutils.RowTypeInfo;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.python.DataStreamPythonFunctionInfo;
import org.apache.flink.streaming.api.functions.python.KeyByKeySelector;
import org.apache.flink.types.Row;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.kafka.common.TopicPartition;

/**
 * The parts of a job that Python puts together: bundles of the log, the fold of them, and the commits of that.
 *
 * <p>Every part takes the same options and uses those that it knows. An operator's name in a savepoint is `uid` and
 * what it does.
 */
public final class Pipeline {
    private Pipeline() {}

    /** Return the records of a topic's partitions from their start offsets on, in bundles, by partition. */
    public static KeyedStream<Row, Row> bundles(StreamExecutionEnvironment environment, Map<String, String> given) {
        Options options = new Options(given);
        // Nobody keeps an element that it has handed on, so Flink need not copy one for the next operator.
        environment.getConfig().enableObjectReuse();
        Bundler bundler = new Bundler(
                Slots.of(options.integer("partitions"), options.integer("maxParallelism")),
                options.integer("bundleRecords"),
                options.integer("bundleBytes"),
                options.integer("lingerMs"),
                options.flag("repartitioned"));
        return environment
                .fromSource(source(options), WatermarkStrategy.noWatermarks(), options.text("topic"))
                .uid(options.text("uid") + "-log")
                .transform(
                        "bundles",
                        new RowTypeInfo(Types.INT, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO),
                        bundler)
                .uid(options.text("uid") + "-bundles")
                .keyBy(new KeyByKeySelector(), new RowTypeInfo(Types.INT));
    }

    static KafkaSource<LogRecord> source(Options options) {
        Map<TopicPartition, Long> start = new HashMap<>();
        options.numbers("start")
                .forEach((partition, offset) -> start.put(new TopicPartition(options.text("topic"), partition), offset));
        Properties client = options.below("client.");
        client.setProperty("isolation.level", "read_committed");
        // Progress is in checkpoints and in the view store; nothing is stored in Kafka.
        client.setProperty("enable.auto.commit", "false");
        client.setProperty("commit.offsets.on.checkpoint", "false");
        client.setProperty("partition.discovery.interval.ms", "-1");
        return KafkaSource.<LogRecord>builder()
                .setBootstrapServers(options.text("brokers"))
                .setPartitions(new HashSet<>(start.keySet())) // a map's own set of keys does not travel
                // History that has left the log is an error, not a reason to begin elsewhere.
                .setStartingOffsets(OffsetsInitializer.offsets(start, OffsetResetStrategy.NONE))
                .setDeserializer(new LogRecords())
                .setProperties(client)
                .build();
    }

    /** Fold bundles by a Python function. The arguments after the first are those of PyFlink's own operators. */
    public static DataStream<byte[]> fold(
            KeyedStream<Row, Row> bundles,
            Configuration config,
            DataStreamPythonFunctionInfo function,
            TypeInformation<Row> input,
            TypeInformation<byte[]> output,
            Map<String, String> given) {
        Options options = new Options(given);
        return bundles.transform("fold", output, new FoldOperator(config, function, input, output, options))
                .uid(options.text("uid") + "-fold")
                // The keys were chosen for this one.
                .setMaxParallelism(options.integer("maxParallelism"));
    }

    /** Write the commits of a fold to PostgreSQL. */
    public static void commit(DataStream<byte[]> commits, Map<String, String> given) {
        Options options = new Options(given);
        commits.sinkTo(new PostgresSink(PostgresTable.of(options)))
                .name("rows")
                .uid(options.text("uid") + "-rows");
    }
}
