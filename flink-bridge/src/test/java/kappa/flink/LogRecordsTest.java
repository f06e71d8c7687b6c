package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.Optional;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.typeutils.PojoTypeInfo;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.record.TimestampType;
import org.junit.jupiter.api.Test;

class LogRecordsTest {
    @Test
    void headersSayEventTimeAndOrigin() {
        RecordHeaders headers = new RecordHeaders();
        headers.add("traceparent", new byte[] {0});
        headers.add("kappa-event-time", new byte[] {0, 0, 0, 0, 0, 0, 1, 2});
        headers.add("kappa-origin", new byte[] {0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9});

        LogRecord record = LogRecords.read(found(headers, new byte[] {5}, new byte[] {6}));

        assertEquals(258, record.eventTimeUs);
        assertEquals(3, record.originPartition);
        assertEquals(9, record.originOffset);
        assertEquals(2, record.partition);
        assertEquals(40, record.offset);
        assertEquals(1_700_000_000_123_000L, record.appendedAtUs);
        assertArrayEquals(new byte[] {5}, record.key);
        assertArrayEquals(new byte[] {6}, record.value);
    }

    @Test
    void aRecordOfAnotherProducerIsItsOwnOriginAndHasNoKnownTime() {
        RecordHeaders headers = new RecordHeaders();
        headers.add("kappa-event-time", "yesterday, about noon".getBytes());
        headers.add("kappa-origin", null);

        LogRecord record = LogRecords.read(found(headers, null, null));

        assertEquals(0, record.eventTimeUs);
        assertEquals(-1, record.originPartition);
        assertEquals(40, record.originOffset);
        assertNull(record.key);
        assertArrayEquals(new byte[0], record.value);
    }

    @Test
    void theFirstHeaderOfTheRightWidthCounts() {
        RecordHeaders headers = new RecordHeaders();
        headers.add("kappa-event-time", new byte[7]);
        headers.add("kappa-event-time", new byte[] {0, 0, 0, 0, 0, 0, 0, 1});
        headers.add("kappa-event-time", new byte[] {0, 0, 0, 0, 0, 0, 0, 2});

        assertEquals(1, LogRecords.read(found(headers, null, null)).eventTimeUs);
    }

    @Test
    void flinkKnowsTheFieldsOfARecord() {
        TypeInformation<LogRecord> type = new LogRecords().getProducedType();

        assertEquals(PojoTypeInfo.class, type.getClass());
    }

    private static ConsumerRecord<byte[], byte[]> found(RecordHeaders headers, byte[] key, byte[] value) {
        return new ConsumerRecord<>(
                "events",
                2,
                40L,
                1_700_000_000_123L,
                TimestampType.LOG_APPEND_TIME,
                0,
                0,
                key,
                value,
                headers,
                Optional.empty());
    }
}
