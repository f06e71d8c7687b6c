package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessageUnpacker;

/** Our reader and writer against the reference implementation. */
class PackTest {
    private static final long[] NUMBERS = {
        0, 1, 127, 128, 255, 256, 65_535, 65_536, Integer.MAX_VALUE, 4_294_967_295L, 4_294_967_296L, Long.MAX_VALUE,
        -1, -32, -33, -128, -129, -32_768, -32_769, Integer.MIN_VALUE, Integer.MIN_VALUE - 1L, Long.MIN_VALUE,
    };
    private static final int[] SIZES = {0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536, 100_000};

    @Test
    void everybodyReadsWhatWeWrite() throws Exception {
        PackWriter writer = new PackWriter(1);
        for (long number : NUMBERS) {
            writer.integer(number);
        }
        for (int size : SIZES) {
            writer.array(size).map(size).binary(bytes(size)).nil();
        }

        try (MessageUnpacker reader = MessagePack.newDefaultUnpacker(writer.toBytes())) {
            for (long number : NUMBERS) {
                assertEquals(number, reader.unpackLong());
            }
            for (int size : SIZES) {
                assertEquals(size, reader.unpackArrayHeader());
                assertEquals(size, reader.unpackMapHeader());
                assertArrayEquals(bytes(size), reader.readPayload(reader.unpackBinaryHeader()));
                reader.unpackNil();
            }
            assertFalse(reader.hasNext());
        }
    }

    @Test
    void weReadWhatOthersWrite() throws Exception {
        MessageBufferPacker writer = MessagePack.newDefaultBufferPacker();
        for (long number : NUMBERS) {
            writer.packLong(number);
        }
        for (int size : SIZES) {
            writer.packArrayHeader(size).packMapHeader(size).packBinaryHeader(size).writePayload(bytes(size));
            writer.packNil().packString("ü".repeat(size));
        }

        PackReader reader = new PackReader(writer.toByteArray());
        for (long number : NUMBERS) {
            assertEquals(number, reader.integer());
        }
        for (int size : SIZES) {
            assertEquals(size, reader.array());
            assertEquals(size, reader.map());
            assertFalse(reader.nil());
            assertArrayEquals(bytes(size), reader.binary());
            assertTrue(reader.nil());
            assertEquals("ü".repeat(size), reader.text());
        }
    }

    @Test
    void aKeyAsTextHasAllItsBytes() {
        byte[] key = bytes(256);

        String text = new PackReader(new PackWriter(1).binary(key).toBytes()).binaryAsText();

        assertArrayEquals(key, text.getBytes(StandardCharsets.ISO_8859_1));
    }

    @Test
    void anotherTypeThanExpectedIsNamedWithItsPlace() {
        PackReader reader = new PackReader(new PackWriter(1).integer(7).nil().toBytes());
        reader.integer();

        Exception error = assertThrows(IllegalArgumentException.class, reader::map);

        assertEquals("expected a map, got type 0xc0 - at byte 1", error.getMessage());
    }

    private static byte[] bytes(int size) {
        byte[] bytes = new byte[size];
        for (int at = 0; at < size; at++) {
            bytes[at] = (byte) at;
        }
        return bytes;
    }
}
