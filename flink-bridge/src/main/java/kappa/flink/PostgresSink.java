package kappa.flink;

import java.io.IOException;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;

/** Writes the commits of a subtask to PostgreSQL; before each checkpoint all of them are there. */
final class PostgresSink implements Sink<byte[]> {
    private static final long serialVersionUID = 1L;

    private final PostgresTable table;

    PostgresSink(PostgresTable table) {
        this.table = table;
    }

    @Override
    public SinkWriter<byte[]> createWriter(WriterInitContext context) {
        return new Writer(new Committer(table, Committer.AWAY_MAX));
    }

    private record Writer(Committer committer) implements SinkWriter<byte[]> {
        @Override
        public void write(byte[] message, Context context) throws IOException, InterruptedException {
            committer.put(Commit.of(message));
        }

        @Override
        public void flush(boolean endOfInput) throws IOException, InterruptedException {
            committer.flush();
        }

        @Override
        public void close() throws InterruptedException {
            committer.close();
        }
    }
}
