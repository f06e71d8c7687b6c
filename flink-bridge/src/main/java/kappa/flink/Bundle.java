package kappa.flink;

/**
 * A run of records of one partition, column by column, as the Python function reads it.
 *
 * <p>The message is an array of 9: partition, next offset, greatest event time, offsets, keys, values, event times,
 * times of appending, origins. Origins are empty unless the log is repartitioned.
 */
final class Bundle {
    /** The next offset of an element that asks for a flush and has no records. */
    static final long FLUSH = -1;

    private static final int FIELDS = 9;

    private final int partition;
    private final boolean repartitioned;
    private final PackWriter message = new PackWriter(1 << 16);
    private final PackWriter offsets = new PackWriter(1 << 13);
    private final PackWriter keys = new PackWriter(1 << 14);
    private final PackWriter values = new PackWriter(1 << 16);
    private final PackWriter eventTimes = new PackWriter(1 << 14);
    private final PackWriter appendedAt = new PackWriter(1 << 14);
    private final PackWriter origins = new PackWriter(1 << 8);
    private int count;
    private long nextOffset;
    private long eventTimeMax;

    Bundle(int partition, boolean repartitioned) {
        this.partition = partition;
        this.repartitioned = repartitioned;
    }

    int count() {
        return count;
    }

    /** Bytes of keys and values; the rest is bounded by the count. */
    int size() {
        return keys.length() + values.length();
    }

    void add(LogRecord record) {
        offsets.integer(record.offset);
        if (record.key == null) {
            keys.nil();
        } else {
            keys.binary(record.key);
        }
        values.binary(record.value);
        eventTimes.integer(record.eventTimeUs);
        appendedAt.integer(record.appendedAtUs);
        if (repartitioned) {
            origins.array(2).integer(record.originPartition).integer(record.originOffset);
        }
        eventTimeMax = count == 0 ? record.eventTimeUs : Math.max(eventTimeMax, record.eventTimeUs);
        nextOffset = record.offset + 1;
        count++;
    }

    /** Return the message of the records so far and begin anew. */
    byte[] take() {
        message.clear();
        message.array(FIELDS).integer(partition).integer(nextOffset).integer(eventTimeMax);
        for (PackWriter column : new PackWriter[] {offsets, keys, values, eventTimes, appendedAt}) {
            message.array(count).append(column);
            column.clear();
        }
        message.array(repartitioned ? count : 0).append(origins);
        origins.clear();
        count = 0;
        return message.toBytes();
    }

    /** Return the message without records that moves a partition to an offset, or asks for a flush. */
    static byte[] empty(int partition, long nextOffset) {
        PackWriter message = new PackWriter(64);
        message.array(FIELDS).integer(partition).integer(nextOffset).integer(0);
        for (int column = 3; column < FIELDS; column++) {
            message.array(0);
        }
        return message.toBytes();
    }

    /** What the fold operator needs to know of a bundle. */
    record Head(int partition, long nextOffset, int count) {
        static Head of(byte[] bundle) {
            PackReader message = new PackReader(bundle);
            message.array();
            int partition = (int) message.integer();
            long nextOffset = message.integer();
            message.integer();
            return new Head(partition, nextOffset, message.array());
        }
    }
}
