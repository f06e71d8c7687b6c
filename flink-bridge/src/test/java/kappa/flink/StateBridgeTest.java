package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.operators.KeyedProcessOperator;
import org.apache.flink.streaming.util.KeyedOneInputStreamOperatorTestHarness;
import org.apache.flink.util.Collector;
import org.junit.jupiter.api.Test;

/** Under a keyed operator's own MapState. An element is what Python would pass, with the name of the method. */
class StateBridgeTest {
    private static final byte[] NOT_UTF8 = {(byte) 0xff, 0, (byte) 0xc3};

    @Test
    void allThatWasStoredIsFoundAndNothingElse() throws Exception {
        try (KeyedOneInputStreamOperatorTestHarness<Integer, Call, byte[]> harness = harness()) {
            harness.processElement(put(entry("ana", "1"), entry("ben", "")), 0);
            harness.processElement(put(entry("ana", "2")), 0);
            harness.processElement(get("ana", "ben", "cem"), 0);

            assertEquals(Map.of("ana", "2", "ben", ""), found(harness));
        }
    }

    @Test
    void nilRemovesAKey() throws Exception {
        try (KeyedOneInputStreamOperatorTestHarness<Integer, Call, byte[]> harness = harness()) {
            harness.processElement(put(entry("ana", "1"), entry("ben", "2")), 0);
            harness.processElement(put(entry("ana", null), entry("dan", null)), 0);
            harness.processElement(get("ana", "ben", "dan"), 0);

            assertEquals(Map.of("ben", "2"), found(harness));
        }
    }

    @Test
    void keysAndValuesAreAnyBytes() throws Exception {
        String odd = new String(NOT_UTF8, StandardCharsets.ISO_8859_1);
        try (KeyedOneInputStreamOperatorTestHarness<Integer, Call, byte[]> harness = harness()) {
            harness.processElement(put(entry(odd, odd)), 0);
            harness.processElement(get(odd), 0);

            assertEquals(Map.of(odd, odd), found(harness));
        }
    }

    private record Call(boolean put, byte[] bytes) {}

    private static final class Caller extends KeyedProcessFunction<Integer, Call, byte[]> {
        private transient MapState<String, byte[]> state;

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext()
                    .getMapState(new MapStateDescriptor<>(
                            "rows", Types.STRING, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
        }

        @Override
        public void processElement(Call call, Context context, Collector<byte[]> out) throws Exception {
            if (call.put) {
                StateBridge.putAll(state, call.bytes);
            } else {
                out.collect(StateBridge.getAll(state, call.bytes));
            }
        }
    }

    private static KeyedOneInputStreamOperatorTestHarness<Integer, Call, byte[]> harness() throws Exception {
        KeyedOneInputStreamOperatorTestHarness<Integer, Call, byte[]> harness =
                new KeyedOneInputStreamOperatorTestHarness<>(
                        new KeyedProcessOperator<>(new Caller()), call -> 1, Types.INT);
        harness.open();
        return harness;
    }

    private static String[] entry(String key, String value) {
        return new String[] {key, value};
    }

    private static Call put(String[]... entries) {
        PackWriter message = new PackWriter(64).map(entries.length);
        for (String[] entry : entries) {
            message.binary(entry[0].getBytes(StandardCharsets.ISO_8859_1));
            if (entry[1] == null) {
                message.nil();
            } else {
                message.binary(entry[1].getBytes(StandardCharsets.ISO_8859_1));
            }
        }
        return new Call(true, message.toBytes());
    }

    private static Call get(String... keys) {
        PackWriter message = new PackWriter(64).array(keys.length);
        for (String key : keys) {
            message.binary(key.getBytes(StandardCharsets.ISO_8859_1));
        }
        return new Call(false, message.toBytes());
    }

    private static Map<String, String> found(KeyedOneInputStreamOperatorTestHarness<Integer, Call, byte[]> harness) {
        List<byte[]> answers = new ArrayList<>(harness.extractOutputValues());
        PackReader answer = new PackReader(answers.get(answers.size() - 1));
        Map<String, String> found = new TreeMap<>();
        for (int left = answer.map(); left > 0; left--) {
            found.put(answer.binaryAsText(), answer.binaryAsText());
        }
        return found;
    }
}
