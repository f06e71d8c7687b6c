package kappa.flink;

/**
 * A record as the log holds it. Plain public fields, so that Flink copies and serialises it without reflection on us.
 *
 * <p>Times are microseconds since 1970, UTC. An event time of 0 is not known; the origin of a record that nobody copied
 * is (-1, its own offset).
 */
public class LogRecord {
    public int partition;
    public long offset;
    /** Null is legal in a log, but no view can fold such a record. */
    public byte[] key;
    public byte[] value;
    public long eventTimeUs;
    public long appendedAtUs;
    public int originPartition;
    public long originOffset;
}
