package kappa.flink;

import java.util.concurrent.ScheduledFuture;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;

/**
 * Gathers the records of each partition into bundles, in log order.
 *
 * <p>It has no state: everything goes out before a barrier, at the end of input, and after the linger.
 */
final class Bundler extends AbstractStreamOperator<Row> implements OneInputStreamOperator<LogRecord, Row>, BoundedOneInput {
    private static final long serialVersionUID = 1L;

    private final int[] slots;
    private final int recordsMax;
    private final int bytesMax;
    private final long lingerMs;
    private final boolean repartitioned;

    private transient Bundle[] bundles;
    private transient ScheduledFuture<?> linger;

    Bundler(int[] slots, int recordsMax, int bytesMax, long lingerMs, boolean repartitioned) {
        this.slots = slots;
        this.recordsMax = recordsMax;
        this.bytesMax = bytesMax;
        this.lingerMs = lingerMs;
        this.repartitioned = repartitioned;
    }

    @Override
    public void open() throws Exception {
        super.open();
        bundles = new Bundle[slots.length];
        for (int partition = 0; partition < slots.length; partition++) {
            bundles[partition] = new Bundle(partition, repartitioned);
        }
    }

    @Override
    public void processElement(StreamRecord<LogRecord> element) {
        LogRecord record = element.getValue();
        Bundle bundle = bundles[record.partition];
        bundle.add(record);
        if (bundle.count() >= recordsMax || bundle.size() >= bytesMax) {
            send(record.partition);
        } else if (linger == null) {
            long now = getProcessingTimeService().getCurrentProcessingTime();
            linger = getProcessingTimeService().registerTimer(now + lingerMs, time -> sendAll());
        }
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpointId) throws Exception {
        super.prepareSnapshotPreBarrier(checkpointId);
        sendAll();
    }

    @Override
    public void endInput() {
        sendAll();
    }

    private void sendAll() {
        if (linger != null) {
            linger.cancel(false);
            linger = null;
        }
        for (int partition = 0; partition < slots.length; partition++) {
            if (bundles[partition].count() > 0) {
                send(partition);
            }
        }
    }

    private void send(int partition) {
        output.collect(new StreamRecord<>(Row.of(slots[partition], bundles[partition].take())));
    }
}
