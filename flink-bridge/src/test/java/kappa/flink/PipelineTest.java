package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;

class PipelineTest {
    @Test
    void allPartsTravelToTheCluster() throws Exception {
        Options options = new Options(options());

        for (Object part : new Object[] {
            Pipeline.source(options), new Bundler(Slots.of(2, 128), 1, 1, 1, false), PostgresTable.of(options), options
        }) {
            InstantiationUtil.clone((java.io.Serializable) part);
        }
        assertEquals(PostgresTable.of(options), InstantiationUtil.clone(PostgresTable.of(options)));
    }

    @Test
    void anOptionThatIsMissingIsNamed() {
        Map<String, String> given = options();
        given.remove("upsert");

        Exception error = assertThrows(IllegalArgumentException.class, () -> PostgresTable.of(new Options(given)));

        assertEquals("the option upsert is missing", error.getMessage());
    }

    @Test
    void settingsOfTheDriverAreOurDefaultsUnlessGiven() {
        Map<String, String> given = options();
        given.put("pg.socketTimeout", "7");

        assertEquals("7", PostgresTable.of(new Options(given)).properties().getProperty("socketTimeout"));
        assertEquals("10", PostgresTable.of(new Options(given)).properties().getProperty("connectTimeout"));
    }

    private static Map<String, String> options() {
        Map<String, String> options = new HashMap<>();
        for (String name : new String[] {
            "brokers", "topic", "url", "table", "createIncoming", "copy", "upsert", "createLetters", "copyLetters",
            "insertLetters", "checkEpochs", "upsertProgress",
        }) {
            options.put(name, name);
        }
        options.put("start", "0:17,1:5");
        options.put("epochs", "0:3,1:3");
        options.put("client.security.protocol", "PLAINTEXT");
        options.put("pg.user", "kappa");
        return options;
    }
}
