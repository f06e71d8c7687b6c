package kappa.flink;

/**
 * What a flush of one partition leaves behind, as the Python function yields it.
 *
 * @param rows what COPY reads, or empty
 * @param deadLetters likewise
 * @param origins the newest origins as JSON, opaque here
 */
record Commit(int partition, long nextOffset, long watermarkUs, String origins, byte[] rows, byte[] deadLetters) {
    static Commit of(byte[] message) {
        PackReader fields = new PackReader(message);
        fields.array();
        return new Commit(
                (int) fields.integer(),
                fields.integer(),
                fields.integer(),
                fields.text(),
                fields.binary(),
                fields.binary());
    }
}
