package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.runtime.execution.SuppressRestartsException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** Against a real server. A row is "key, offset, value"; the statements are as the adapter makes them. */
@EnabledIfSystemProperty(named = Servers.POSTGRES, matches = ".+", disabledReason = "no PostgreSQL was given")
class CommitterTest {
    private static final String URL = System.getProperty(Servers.POSTGRES);
    private static final Map<Integer, Long> EPOCHS = Map.of(0, 3L, 1, 3L);

    private static final PostgresTable.Statements SQL = new PostgresTable.Statements(
            "CREATE TEMPORARY TABLE incoming (LIKE bridge.rows) ON COMMIT DELETE ROWS",
            "COPY pg_temp.incoming FROM STDIN",
            """
            INSERT INTO bridge.rows AS stored SELECT * FROM pg_temp.incoming ON CONFLICT (key) DO UPDATE
            SET value = excluded.value, at = excluded.at WHERE excluded.at > stored.at
            """,
            "CREATE TEMPORARY TABLE letters (LIKE bridge.dead_letters) ON COMMIT DELETE ROWS",
            "COPY pg_temp.letters FROM STDIN",
            "INSERT INTO bridge.dead_letters SELECT * FROM pg_temp.letters ON CONFLICT DO NOTHING",
            "SELECT worker_group, epoch FROM bridge.writers WHERE table_name = ? ORDER BY worker_group FOR SHARE",
            """
            INSERT INTO bridge.progress VALUES (?, ?, ?, ?, ?) ON CONFLICT (table_name, partition) DO UPDATE
            SET next_offset = excluded.next_offset, watermark_us = excluded.watermark_us, origins = excluded.origins
            WHERE excluded.next_offset > progress.next_offset
            """);

    private Connection other;

    @BeforeEach
    void createTables() throws SQLException {
        other = DriverManager.getConnection(URL);
        execute(
                """
                DROP SCHEMA IF EXISTS bridge CASCADE;
                CREATE SCHEMA bridge;
                CREATE TABLE bridge.rows (key text PRIMARY KEY, at bigint, value text);
                CREATE TABLE bridge.dead_letters (partition integer, at bigint, PRIMARY KEY (partition, at));
                CREATE TABLE bridge.writers (table_name text, worker_group integer, epoch bigint);
                CREATE TABLE bridge.progress (table_name text, partition integer, next_offset bigint,
                    watermark_us bigint, origins text, PRIMARY KEY (table_name, partition));
                INSERT INTO bridge.writers VALUES ('shop__v1', 0, 3), ('shop__v1', 1, 3), ('shop__v2', 0, 9);
                """);
    }

    @AfterEach
    void disconnect() throws SQLException {
        other.close();
    }

    @Test
    void afterAFlushRowsDeadLettersAndProgressAreThere() throws Exception {
        try (Committer committer = committer()) {
            committer.put(new Commit(0, 7, 70, "{\"2\":5}", lines("ana\t6\tx"), lines("0\t5")));
            committer.put(new Commit(1, 4, 40, "{}", lines("ben\t3\ty"), lines()));
            committer.flush();
        }

        assertEquals(List.of("ana|6|x", "ben|3|y"), select("SELECT * FROM bridge.rows ORDER BY key"));
        assertEquals(List.of("0|5"), select("SELECT * FROM bridge.dead_letters"));
        assertEquals(
                List.of("shop__v1|0|7|70|{\"2\":5}", "shop__v1|1|4|40|{}"),
                select("SELECT * FROM bridge.progress ORDER BY partition"));
    }

    @Test
    void whatComesAgainAfterARestoreChangesNothing() throws Exception {
        Commit early = new Commit(0, 5, 50, "{}", lines("ana\t4\told"), lines("0\t3"));
        Commit late = new Commit(0, 9, 90, "{}", lines("ana\t8\tnew"), lines("0\t7"));

        for (List<Commit> commits : List.of(List.of(early, late), List.of(early), List.of(late))) {
            try (Committer committer = committer()) {
                for (Commit commit : commits) {
                    committer.put(commit);
                }
                committer.flush();
            }

            assertEquals(List.of("ana|8|new"), select("SELECT * FROM bridge.rows"));
            assertEquals(List.of("0|3", "0|7"), select("SELECT * FROM bridge.dead_letters ORDER BY at"));
            assertEquals(List.of("9|90"), select("SELECT next_offset, watermark_us FROM bridge.progress"));
        }
    }

    @Test
    void aWriterThatWasReplacedWritesNothingAndIsNotRestarted() throws Exception {
        execute("UPDATE bridge.writers SET epoch = 4 WHERE table_name = 'shop__v1' AND worker_group = 1");

        assertEquals("cannot write group 1 of shop__v1 with epoch 3: its epoch is 4 now", fenced());
    }

    @Test
    void aTableThatWasCreatedAnewIsSomebodyElses() throws Exception {
        execute("UPDATE bridge.writers SET epoch = 1 WHERE table_name = 'shop__v1'");

        assertTrue(fenced().endsWith("its epoch is 1 now"));
    }

    @Test
    void aTableThatWasDroppedHasNoEpoch() throws Exception {
        execute("DELETE FROM bridge.writers WHERE table_name = 'shop__v1'");

        assertTrue(fenced().endsWith("with epoch 3: the table is gone"));
    }

    @Test
    void aTransactionWhoseConnectionIsLostIsWrittenAgain() throws Exception {
        try (Committer committer = committer()) {
            other.setAutoCommit(false);
            execute("LOCK TABLE bridge.progress");
            committer.put(commit(0, 7, "ana\t6\tx"));
            Servers.eventually(() -> !blocked().isEmpty());
            execute("SELECT pg_terminate_backend(" + blocked().get(0) + ")");
            other.commit();
            committer.flush();
        }

        assertEquals(List.of("ana|6|x"), select("SELECT * FROM bridge.rows"));
        assertEquals(List.of("7"), select("SELECT next_offset FROM bridge.progress"));
    }

    @Test
    void aThirdCommitOfAPartitionWaitsAndOthersDoNot() throws Exception {
        try (Committer committer = committer()) {
            other.setAutoCommit(false);
            execute("LOCK TABLE bridge.progress");
            committer.put(commit(0, 1, "ana\t0\ta"));
            Servers.eventually(() -> !blocked().isEmpty());
            committer.put(commit(0, 2, "ana\t1\tb"));
            committer.put(commit(1, 1, "ben\t0\ta"));

            Thread third = new Thread(() -> put(committer, commit(0, 3, "ana\t2\tc")));
            third.start();
            Servers.eventually(() -> third.getState() == Thread.State.WAITING);
            other.commit();
            third.join();
            committer.flush();
        }

        assertEquals(List.of("ana|2|c", "ben|0|a"), select("SELECT * FROM bridge.rows ORDER BY key"));
    }

    @Test
    void closingBreaksATransactionThatHangs() throws Exception {
        Committer committer = committer();
        other.setAutoCommit(false);
        execute("LOCK TABLE bridge.progress");
        committer.put(commit(0, 7, "ana\t6\tx"));
        Servers.eventually(() -> !blocked().isEmpty());

        committer.close();
        other.commit();

        assertThrows(IOException.class, committer::flush);
    }

    @Test
    void aServerThatStaysAwayFailsTheJob() throws Exception {
        int port;
        try (ServerSocket free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        PostgresTable nowhere = new PostgresTable(
                "jdbc:postgresql://127.0.0.1:" + port + "/postgres", new Properties(), "shop__v1", EPOCHS, SQL);

        try (Committer committer = new Committer(nowhere, Duration.ofMillis(1))) {
            committer.put(commit(0, 7, "ana\t6\tx"));

            Exception error = assertThrows(IOException.class, committer::flush);
            assertTrue(error.getMessage().startsWith("cannot write rows of shop__v1: Connection to 127.0.0.1"));
        }
    }

    @Test
    void anErrorThatStaysFailsTheJobAtOnce() throws Exception {
        try (Committer committer = committer()) {
            committer.put(commit(0, 7, "ana\tnumber\tx"));

            assertThrows(IOException.class, committer::flush);
            assertThrows(IOException.class, () -> committer.put(commit(0, 8, "ana\t7\tx")));
        }
        assertEquals(List.of(), select("SELECT * FROM bridge.progress"));
    }

    /** Return what is said to a writer that writes one commit. */
    private String fenced() throws Exception {
        try (Committer committer = committer()) {
            committer.put(commit(0, 7, "ana\t6\tx"));

            SuppressRestartsException error = assertThrows(SuppressRestartsException.class, committer::flush);
            assertEquals(List.of(), select("SELECT * FROM bridge.rows"));
            assertEquals(List.of(), select("SELECT * FROM bridge.progress"));
            return error.getCause().getMessage();
        }
    }

    private static Committer committer() {
        PostgresTable table = new PostgresTable(URL, new Properties(), "shop__v1", EPOCHS, SQL);
        return new Committer(table, Committer.AWAY_MAX);
    }

    private static Commit commit(int partition, long nextOffset, String row) {
        return new Commit(partition, nextOffset, 0, "{}", lines(row), lines());
    }

    private static byte[] lines(String... lines) {
        StringBuilder text = new StringBuilder();
        for (String line : lines) {
            text.append(line).append('\n');
        }
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static void put(Committer committer, Commit commit) {
        try {
            committer.put(commit);
        } catch (IOException | InterruptedException error) {
            throw new AssertionError(error);
        }
    }

    /** Return the processes of the server that wait for a lock. */
    private List<String> blocked() {
        try {
            return select("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    + " AND datname = current_database()");
        } catch (SQLException error) {
            throw new AssertionError(error);
        }
    }

    private void execute(String sql) throws SQLException {
        try (Statement statement = other.createStatement()) {
            statement.execute(sql);
        }
    }

    private List<String> select(String sql) throws SQLException {
        try (Connection reader = DriverManager.getConnection(URL);
                Statement statement = reader.createStatement();
                ResultSet found = statement.executeQuery(sql)) {
            List<String> rows = new ArrayList<>();
            while (found.next()) {
                List<String> fields = new ArrayList<>();
                for (int column = 1; column <= found.getMetaData().getColumnCount(); column++) {
                    fields.add(found.getString(column));
                }
                rows.add(String.join("|", fields));
            }
            return rows;
        }
    }
}
