package kappa.flink;

import java.nio.ByteBuffer;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;

/** Takes from a record of Kafka what the kernel needs: event time and origin lie in headers of fixed width. */
final class LogRecords implements KafkaRecordDeserializationSchema<LogRecord> {
    private static final long serialVersionUID = 1L;

    private static final String EVENT_TIME = "kappa-event-time";
    private static final String ORIGIN = "kappa-origin";
    private static final byte[] NO_BYTES = {};

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> found, Collector<LogRecord> out) {
        out.collect(read(found));
    }

    static LogRecord read(ConsumerRecord<byte[], byte[]> found) {
        LogRecord record = new LogRecord();
        record.partition = found.partition();
        record.offset = found.offset();
        record.key = found.key();
        record.value = found.value() == null ? NO_BYTES : found.value();
        record.appendedAtUs = found.timestamp() * 1_000;
        record.originPartition = -1;
        record.originOffset = found.offset();
        // Of several headers of a name the first of the right width counts, as for every other reader.
        boolean timed = false;
        boolean placed = false;
        for (Header header : found.headers()) {
            byte[] value = header.value();
            if (!timed && header.key().equals(EVENT_TIME) && value != null && value.length == Long.BYTES) {
                record.eventTimeUs = ByteBuffer.wrap(value).getLong();
                timed = true;
            } else if (!placed && header.key().equals(ORIGIN) && value != null && value.length == Integer.BYTES + Long.BYTES) {
                ByteBuffer origin = ByteBuffer.wrap(value);
                record.originPartition = origin.getInt();
                record.originOffset = origin.getLong();
                placed = true;
            }
        }
        return record;
    }

    @Override
    public TypeInformation<LogRecord> getProducedType() {
        return TypeInformation.of(LogRecord.class);
    }
}
