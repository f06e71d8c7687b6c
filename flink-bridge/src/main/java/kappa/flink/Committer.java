package kappa.flink;

import java.io.IOException;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import org.apache.flink.runtime.execution.SuppressRestartsException;

/**
 * Writes commits in the background, in the order of each partition, one transaction at a time.
 *
 * <p>While a transaction runs, the commits that come are gathered for the next: at most one of a partition, so memory
 * is bounded and no transaction has a row twice. A transaction whose connection is lost is written again, done or not:
 * rows and progress never go back. Every transaction is on disk when it counts as done: one that a crash of the server
 * could undo would be missing, unseen, behind the ones after it.
 */
final class Committer implements AutoCloseable {
    /** How long a server may be away: a restart or a failover. Then the job fails, and Flink restarts it in its way. */
    static final Duration AWAY_MAX = Duration.ofSeconds(60);

    private static final long PAUSE_MS = 100;
    private static final long PAUSE_MAX_MS = 2_000;
    private static final long CLOSE_MS_MAX = 10_000;
    private static final Executor HERE = Runnable::run;

    private final PostgresTable table;
    private final Duration awayMax;
    private final Thread thread;

    // Guarded by this.
    private Map<Integer, Commit> waiting = new LinkedHashMap<>();
    private boolean writing;
    private boolean closed;
    private Throwable failure;
    private Connection connection;

    Committer(PostgresTable table, Duration awayMax) {
        this.table = table;
        this.awayMax = awayMax;
        this.thread = new Thread(this::run, "commits of " + table.name());
        this.thread.setDaemon(true);
        this.thread.start();
    }

    /** Write a commit soon. Waits while one of the same partition waits. */
    synchronized void put(Commit commit) throws IOException, InterruptedException {
        while (failure == null && waiting.containsKey(commit.partition())) {
            wait();
        }
        check();
        waiting.put(commit.partition(), commit);
        notifyAll();
    }

    /** Wait until all that was put is written. */
    synchronized void flush() throws IOException, InterruptedException {
        while (failure == null && (writing || !waiting.isEmpty())) {
            wait();
        }
        check();
    }

    private void check() throws IOException {
        if (failure instanceof Fenced) {
            throw new SuppressRestartsException(failure);
        }
        if (failure != null) {
            throw new IOException("cannot write rows of " + table.name() + ": " + failure.getMessage(), failure);
        }
    }

    /** Stop, whatever still waits: nobody is told that it is written. */
    @Override
    public void close() throws InterruptedException {
        synchronized (this) {
            closed = true;
            disconnect();
            notifyAll();
        }
        thread.join(CLOSE_MS_MAX);
    }

    private void run() {
        try {
            for (List<Commit> commits = next(); commits != null; commits = next()) {
                write(commits);
            }
        } catch (Throwable error) {
            // Whatever it is, somebody waits for this thread.
            fail(error);
        } finally {
            disconnect();
        }
    }

    private synchronized void fail(Throwable error) {
        failure = error;
        notifyAll();
    }

    /** Say that the last ones are written, wait for more, and return them; null at the end. */
    private synchronized List<Commit> next() throws InterruptedException {
        writing = false;
        notifyAll();
        while (!closed && waiting.isEmpty()) {
            wait();
        }
        if (closed) {
            return null;
        }
        writing = true;
        List<Commit> commits = new ArrayList<>(waiting.values());
        waiting = new LinkedHashMap<>();
        notifyAll();
        return commits;
    }

    private void write(List<Commit> commits) throws SQLException, Fenced, InterruptedException {
        long giveUpAt = 0;
        for (long pauseMs = PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS)) {
            try {
                table.write(connected(), commits);
                return;
            } catch (SQLException error) {
                disconnect();
                long now = System.nanoTime();
                giveUpAt = giveUpAt == 0 ? now + awayMax.toNanos() : giveUpAt;
                if (!passing(error) || now - giveUpAt >= 0) {
                    throw error;
                }
                pause(pauseMs);
            }
        }
    }

    private synchronized void pause(long pauseMs) throws InterruptedException {
        long until = System.nanoTime() + pauseMs * 1_000_000;
        for (long leftMs = pauseMs; leftMs > 0; leftMs = (until - System.nanoTime()) / 1_000_000) {
            if (closed) {
                throw new InterruptedException("closed");
            }
            wait(leftMs);
        }
    }

    private Connection connected() throws SQLException, InterruptedException {
        synchronized (this) {
            if (connection != null) {
                return connection;
            }
        }
        Connection opened = table.connect();
        synchronized (this) {
            if (closed) {
                opened.abort(HERE);
                throw new InterruptedException("closed");
            }
            connection = opened;
            return opened;
        }
    }

    /** Break the connection, also under a transaction that another thread waits for. */
    private synchronized void disconnect() {
        if (connection != null) {
            try {
                connection.abort(HERE);
            } catch (SQLException ignored) {
                // It was no use any more.
            }
            connection = null;
        }
    }

    /**
     * Say whether an error goes by itself: the connection (08), a restart of the server (57), too much at once (53),
     * one of two transactions in each other's way (40), a server that is not the primary yet (25006).
     */
    static boolean passing(SQLException error) {
        String state = error.getSQLState();
        return state != null && state.matches("08...|57...|53...|40...|25006");
    }
}
