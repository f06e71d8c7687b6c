package kappa.flink;

import java.io.Serializable;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;

/** The options of a part of the job, as Python gives them: texts by name. One that is missing names itself. */
final class Options implements Serializable {
    private static final long serialVersionUID = 1L;

    private final HashMap<String, String> given;

    Options(Map<String, String> given) {
        this.given = new HashMap<>(given);
    }

    String text(String name) {
        String value = given.get(name);
        if (value == null) {
            throw new IllegalArgumentException("the option " + name + " is missing");
        }
        return value;
    }

    int integer(String name) {
        return Integer.parseInt(text(name));
    }

    boolean flag(String name) {
        return Boolean.parseBoolean(text(name));
    }

    /** Return the numbers in a text such as "0:17,1:5". */
    Map<Integer, Long> numbers(String name) {
        Map<Integer, Long> numbers = new TreeMap<>();
        for (String pair : text(name).split(",")) {
            int colon = pair.indexOf(':');
            numbers.put(Integer.parseInt(pair.substring(0, colon)), Long.parseLong(pair.substring(colon + 1)));
        }
        return numbers;
    }

    /** Return the options that begin with a prefix, without it: settings of somebody else's. */
    Properties below(String prefix) {
        Properties found = new Properties();
        given.forEach((name, value) -> {
            if (name.startsWith(prefix)) {
                found.setProperty(name.substring(prefix.length()), value);
            }
        });
        return found;
    }
}
