package kappa.flink;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.state.MapState;

/**
 * Reads and writes many keys of a MapState in one call from Python: a call across languages costs more than a key.
 *
 * <p>Keys and values are bytes; a key is a text of one character per byte in the state. The state's current key is
 * whoever called us's matter.
 */
public final class StateBridge {
    private StateBridge() {}

    /** Return those of the keys that are present, as a map; `keys` is an array of binaries. */
    public static byte[] getAll(Object state, byte[] keys) throws Exception {
        MapState<String, byte[]> states = statesIn(state);
        PackReader wanted = new PackReader(keys);
        PackWriter entries = new PackWriter(keys.length + 1024);
        int found = 0;
        for (int left = wanted.array(); left > 0; left--) {
            String key = wanted.binaryAsText();
            byte[] value = states.get(key);
            if (value != null) {
                entries.binary(key.getBytes(StandardCharsets.ISO_8859_1)).binary(value);
                found++;
            }
        }
        return new PackWriter(entries.length() + 5).map(found).append(entries).toBytes();
    }

    /** Store the entries of a map of binaries; nil removes a key. */
    public static void putAll(Object state, byte[] entries) throws Exception {
        MapState<String, byte[]> states = statesIn(state);
        PackReader given = new PackReader(entries);
        Map<String, byte[]> stored = new HashMap<>();
        for (int left = given.map(); left > 0; left--) {
            String key = given.binaryAsText();
            if (given.nil()) {
                states.remove(key);
            } else {
                stored.put(key, given.binary());
            }
        }
        if (!stored.isEmpty()) {
            states.putAll(stored);
        }
    }

    @SuppressWarnings("unchecked") // Python hands over the object that it got from Flink, which has no other type here.
    private static MapState<String, byte[]> statesIn(Object state) {
        return (MapState<String, byte[]>) state;
    }
}
