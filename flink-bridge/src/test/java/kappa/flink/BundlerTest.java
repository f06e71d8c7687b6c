package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;
import org.msgpack.core.MessagePack;
import org.msgpack.value.Value;

class BundlerTest {
    private static final int[] SLOTS = {70, 71};

    @Test
    void aBundleHasRecordsOfOnePartitionInLogOrder() throws Exception {
        try (OneInputStreamOperatorTestHarness<LogRecord, Row> harness = harness(1_000, 1 << 20, false)) {
            harness.processElement(record(0, 5, "ana", 30), 0);
            harness.processElement(record(1, 9, "ben", 10), 0);
            harness.processElement(record(0, 8, null, 20), 0);
            harness.prepareSnapshotPreBarrier(1);

            assertEquals(
                    List.of(
                            "70 [0,9,30,[5,8],[\"ana\",null],[\"v5\",\"v8\"],[30,20],[5000,8000],[]]",
                            "71 [1,10,10,[9],[\"ben\"],[\"v9\"],[10],[9000],[]]"),
                    bundles(harness));
        }
    }

    @Test
    void aRepartitionedLogsBundlesSayWhereRecordsComeFrom() throws Exception {
        try (OneInputStreamOperatorTestHarness<LogRecord, Row> harness = harness(1_000, 1 << 20, true)) {
            LogRecord copy = record(0, 5, "ana", 0);
            copy.originPartition = 3;
            copy.originOffset = 77;
            harness.processElement(copy, 0);
            harness.processElement(record(0, 6, "ana", 0), 0);
            harness.endInput();

            assertEquals(
                    List.of("70 [0,7,0,[5,6],[\"ana\",\"ana\"],[\"v5\",\"v6\"],[0,0],[5000,6000],[[3,77],[-1,6]]]"),
                    bundles(harness));
        }
    }

    @Test
    void timesBefore1970AreTimes() throws Exception {
        try (OneInputStreamOperatorTestHarness<LogRecord, Row> harness = harness(1_000, 1 << 20, false)) {
            harness.processElement(record(0, 5, "ana", -9), 0);
            harness.processElement(record(0, 6, "ana", -20), 0);
            harness.endInput();

            assertEquals(
                    List.of("70 [0,7,-9,[5,6],[\"ana\",\"ana\"],[\"v5\",\"v6\"],[-9,-20],[5000,6000],[]]"),
                    bundles(harness));
        }
    }

    @Test
    void aFullBundleGoesAtOnceAndTheNextBeginsEmpty() throws Exception {
        try (OneInputStreamOperatorTestHarness<LogRecord, Row> harness = harness(2, 1 << 20, false)) {
            harness.processElement(record(0, 5, "ana", 0), 0);
            harness.processElement(record(1, 5, "ben", 0), 0);
            harness.processElement(record(0, 6, "ana", 0), 0);
            harness.processElement(record(0, 7, "ana", 0), 0);

            assertEquals(
                    List.of("70 [0,7,0,[5,6],[\"ana\",\"ana\"],[\"v5\",\"v6\"],[0,0],[5000,6000],[]]"),
                    bundles(harness));
        }
    }

    @Test
    void aBundleOfManyBytesIsFull() throws Exception {
        try (OneInputStreamOperatorTestHarness<LogRecord, Row> harness = harness(1_000, 15, false)) {
            harness.processElement(record(0, 5, "ana", 0), 0);
            harness.processElement(record(0, 6, "ana", 0), 0);

            assertEquals(1, bundles(harness).size());
        }
    }

    @Test
    void aRecordWaitsForOthersNoLongerThanTheLinger() throws Exception {
        try (OneInputStreamOperatorTestHarness<LogRecord, Row> harness = harness(1_000, 1 << 20, false)) {
            harness.setProcessingTime(1_000);
            harness.processElement(record(0, 5, "ana", 0), 0);
            harness.setProcessingTime(1_049);
            assertEquals(0, bundles(harness).size());

            harness.setProcessingTime(1_050);
            assertEquals(1, bundles(harness).size());

            harness.processElement(record(0, 6, "ana", 0), 0);
            harness.setProcessingTime(1_100);
            assertEquals(2, bundles(harness).size());
        }
    }

    @Test
    void nothingComesTwice() throws Exception {
        try (OneInputStreamOperatorTestHarness<LogRecord, Row> harness = harness(1_000, 1 << 20, false)) {
            harness.processElement(record(0, 5, "ana", 0), 0);
            harness.prepareSnapshotPreBarrier(1);
            harness.setProcessingTime(5_000);
            harness.prepareSnapshotPreBarrier(2);
            harness.endInput();

            assertEquals(1, bundles(harness).size());
        }
    }

    @Test
    void anElementWithoutRecordsReadsAsAnyOther() {
        assertEquals("[3,42,0,[],[],[],[],[],[]]", text(Bundle.empty(3, 42)));
        assertEquals(new Bundle.Head(3, 42, 0), Bundle.Head.of(Bundle.empty(3, 42)));
        assertEquals(Bundle.FLUSH, Bundle.Head.of(Bundle.empty(3, Bundle.FLUSH)).nextOffset());
    }

    private static OneInputStreamOperatorTestHarness<LogRecord, Row> harness(
            int recordsMax, int bytesMax, boolean repartitioned) throws Exception {
        OneInputStreamOperatorTestHarness<LogRecord, Row> harness = new OneInputStreamOperatorTestHarness<>(
                new Bundler(SLOTS, recordsMax, bytesMax, 50, repartitioned));
        harness.open();
        return harness;
    }

    private static LogRecord record(int partition, long offset, String key, long eventTimeUs) {
        LogRecord record = new LogRecord();
        record.partition = partition;
        record.offset = offset;
        record.key = key == null ? null : key.getBytes();
        record.value = ("v" + offset).getBytes();
        record.eventTimeUs = eventTimeUs;
        record.appendedAtUs = offset * 1_000;
        record.originPartition = -1;
        record.originOffset = offset;
        return record;
    }

    /** Return what came out so far: the slot, and the message as JSON. */
    private static List<String> bundles(OneInputStreamOperatorTestHarness<LogRecord, Row> harness) {
        List<String> bundles = new ArrayList<>();
        for (Row row : harness.extractOutputValues()) {
            bundles.add(row.getField(0) + " " + text((byte[]) row.getField(1)));
        }
        return bundles;
    }

    private static String text(byte[] message) {
        try {
            Value value = MessagePack.newDefaultUnpacker(message).unpackValue();
            return value.toJson();
        } catch (java.io.IOException error) {
            throw new AssertionError(error);
        }
    }
}
