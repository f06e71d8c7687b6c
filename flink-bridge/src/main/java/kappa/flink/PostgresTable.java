package kappa.flink;

import java.io.Serializable;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.function.Function;
import org.postgresql.Driver;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;

/**
 * The table of one version, and how commits are written to it: all of them in one transaction, with the check of the
 * epochs. It knows no rule about rows of its own: the statements come from the adapter that made the table.
 *
 * @param name what the tables beside it call it
 * @param epochs of every group of partitions: what must be in force
 */
record PostgresTable(String url, Properties properties, String name, Map<Integer, Long> epochs, Statements sql)
        implements Serializable {
    /**
     * Statements in PostgreSQL's words.
     *
     * @param createIncoming makes the temporary table that `copy` fills and `upsert` empties into the table
     * @param createLetters makes the temporary table that `copyLetters` fills and `insertLetters` empties
     * @param checkEpochs of the table name: group and epoch, locked to the end of the transaction
     * @param upsertProgress of table name, partition, next offset, watermark, origins; never backwards
     */
    record Statements(
            String createIncoming,
            String copy,
            String upsert,
            String createLetters,
            String copyLetters,
            String insertLetters,
            String checkEpochs,
            String upsertProgress)
            implements Serializable {}

    static PostgresTable of(Options options) {
        Properties properties = options.below("pg.");
        // A server that vanished without a word is noticed; any of this may be set otherwise.
        properties.putIfAbsent("connectTimeout", "10");
        properties.putIfAbsent("socketTimeout", "60");
        properties.putIfAbsent("tcpKeepAlive", "true");
        properties.putIfAbsent("ApplicationName", "kappa flink " + options.text("table"));
        Statements sql = new Statements(
                options.text("createIncoming"),
                options.text("copy"),
                options.text("upsert"),
                options.text("createLetters"),
                options.text("copyLetters"),
                options.text("insertLetters"),
                options.text("checkEpochs"),
                options.text("upsertProgress"));
        return new PostgresTable(
                options.text("url"), properties, options.text("table"), options.numbers("epochs"), sql);
    }

    Connection connect() throws SQLException {
        // Not by DriverManager, which does not look into a job's own jars.
        Connection connection = new Driver().connect(url, properties);
        if (connection == null) {
            throw new IllegalArgumentException("not a PostgreSQL URL: " + url);
        }
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql.createIncoming);
            statement.execute(sql.createLetters);
            connection.setAutoCommit(false);
        } catch (SQLException error) {
            connection.close();
            throw error;
        }
        return connection;
    }

    /** Write commits, at most one of a partition, in one transaction. After an error the connection is of no use. */
    void write(Connection connection, Collection<Commit> commits) throws SQLException, Fenced {
        checkEpochs(connection);
        copy(connection, sql.copy, sql.upsert, commits, Commit::rows);
        copy(connection, sql.copyLetters, sql.insertLetters, commits, Commit::deadLetters);
        try (PreparedStatement progress = connection.prepareStatement(sql.upsertProgress)) {
            for (Commit commit : commits) {
                progress.setString(1, name);
                progress.setInt(2, commit.partition());
                progress.setLong(3, commit.nextOffset());
                progress.setLong(4, commit.watermarkUs());
                progress.setString(5, commit.origins());
                // Not as a batch: when the connection is lost in one, the driver throws an AssertionError.
                progress.executeUpdate();
            }
        }
        connection.commit();
    }

    private void checkEpochs(Connection connection) throws SQLException, Fenced {
        Map<Integer, Long> current = new HashMap<>();
        try (PreparedStatement query = connection.prepareStatement(sql.checkEpochs)) {
            query.setString(1, name);
            try (ResultSet found = query.executeQuery()) {
                while (found.next()) {
                    current.put(found.getInt(1), found.getLong(2));
                }
            }
        }
        // A lower epoch is that of a table that was dropped and created anew.
        for (Map.Entry<Integer, Long> ours : epochs.entrySet()) {
            if (!ours.getValue().equals(current.get(ours.getKey()))) {
                throw new Fenced(name, ours.getKey(), ours.getValue(), current.get(ours.getKey()));
            }
        }
    }

    private static void copy(
            Connection connection,
            String copy,
            String merge,
            Collection<Commit> commits,
            Function<Commit, byte[]> part)
            throws SQLException {
        if (commits.stream().allMatch(commit -> part.apply(commit).length == 0)) {
            return;
        }
        CopyIn incoming = connection.unwrap(PGConnection.class).getCopyAPI().copyIn(copy);
        for (Commit commit : commits) {
            byte[] lines = part.apply(commit);
            incoming.writeToCopy(lines, 0, lines.length);
        }
        incoming.endCopy();
        try (Statement statement = connection.createStatement()) {
            statement.execute(merge);
        }
    }
}
