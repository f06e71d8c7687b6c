package kappa.flink;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Reads the part of msgpack that Python's encoder writes for us: integers, binaries, texts, arrays, maps and nil. */
final class PackReader {
    private final byte[] bytes;
    private int at;

    PackReader(byte[] bytes) {
        this.bytes = bytes;
    }

    /** Begin an array and return its size. */
    int array() {
        int type = unsigned(1);
        if ((type & 0xf0) == 0x90) {
            return type & 0x0f;
        }
        return switch (type) {
            case 0xdc -> unsigned(2);
            case 0xdd -> unsigned(4);
            default -> throw unexpected("an array", type);
        };
    }

    /** Begin a map and return its size. */
    int map() {
        int type = unsigned(1);
        if ((type & 0xf0) == 0x80) {
            return type & 0x0f;
        }
        return switch (type) {
            case 0xde -> unsigned(2);
            case 0xdf -> unsigned(4);
            default -> throw unexpected("a map", type);
        };
    }

    long integer() {
        int type = unsigned(1);
        if (type < 0x80 || type >= 0xe0) {
            return (byte) type;
        }
        return switch (type) {
            case 0xcc -> unsigned(1);
            case 0xcd -> unsigned(2);
            case 0xce -> unsigned(4) & 0xffff_ffffL;
            case 0xd0 -> (byte) unsigned(1);
            case 0xd1 -> (short) unsigned(2);
            case 0xd2 -> unsigned(4);
            case 0xcf, 0xd3 -> (long) unsigned(4) << 32 | unsigned(4) & 0xffff_ffffL;
            default -> throw unexpected("an integer", type);
        };
    }

    byte[] binary() {
        int size = binarySize();
        at += size;
        return Arrays.copyOfRange(bytes, at - size, at);
    }

    /** Read a binary as a text of one character per byte: lossless whatever the bytes are. */
    String binaryAsText() {
        int size = binarySize();
        at += size;
        return new String(bytes, at - size, size, StandardCharsets.ISO_8859_1);
    }

    String text() {
        int type = unsigned(1);
        int size = (type & 0xe0) == 0xa0 ? type & 0x1f : switch (type) {
            case 0xd9 -> unsigned(1);
            case 0xda -> unsigned(2);
            case 0xdb -> unsigned(4);
            default -> throw unexpected("a text", type);
        };
        at += size;
        return new String(bytes, at - size, size, StandardCharsets.UTF_8);
    }

    /** Pass over nil and return true, if that is what comes. */
    boolean nil() {
        boolean found = (bytes[at] & 0xff) == 0xc0;
        if (found) {
            at++;
        }
        return found;
    }

    private int binarySize() {
        int type = unsigned(1);
        return switch (type) {
            case 0xc4 -> unsigned(1);
            case 0xc5 -> unsigned(2);
            case 0xc6 -> unsigned(4);
            default -> throw unexpected("a binary", type);
        };
    }

    private int unsigned(int size) {
        int value = 0;
        for (int each = 0; each < size; each++) {
            value = value << 8 | bytes[at++] & 0xff;
        }
        return value;
    }

    private IllegalArgumentException unexpected(String wanted, int type) {
        return new IllegalArgumentException("expected %s, got type %#x - at byte %d".formatted(wanted, type, at - 1));
    }
}
