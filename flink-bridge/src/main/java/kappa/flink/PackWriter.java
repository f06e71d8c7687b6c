package kappa.flink;

import java.util.Arrays;

/**
 * Writes the part of msgpack that bundles and states need, into a buffer that grows and is used again.
 *
 * <p>It checks nothing: whoever begins an array or a map writes as many values as it said.
 */
final class PackWriter {
    private byte[] buffer;
    private int length;

    PackWriter(int capacity) {
        buffer = new byte[capacity];
    }

    int length() {
        return length;
    }

    void clear() {
        length = 0;
    }

    byte[] toBytes() {
        return Arrays.copyOf(buffer, length);
    }

    PackWriter array(int size) {
        return sized(0xdd, size);
    }

    PackWriter map(int size) {
        return sized(0xdf, size);
    }

    PackWriter nil() {
        reserve(1);
        buffer[length++] = (byte) 0xc0;
        return this;
    }

    PackWriter integer(long value) {
        reserve(9);
        if (value >= 0 && value < 0x80) {
            buffer[length++] = (byte) value;
        } else if (value >= 0 && value <= 0xffff_ffffL) {
            buffer[length++] = (byte) 0xce;
            fourBytes((int) value);
        } else {
            buffer[length++] = (byte) 0xd3;
            fourBytes((int) (value >>> 32));
            fourBytes((int) value);
        }
        return this;
    }

    PackWriter binary(byte[] bytes) {
        return binary(bytes, 0, bytes.length);
    }

    PackWriter binary(byte[] bytes, int start, int size) {
        reserve(5 + size);
        if (size < 0x100) {
            buffer[length++] = (byte) 0xc4;
            buffer[length++] = (byte) size;
        } else {
            buffer[length++] = (byte) 0xc6;
            fourBytes(size);
        }
        System.arraycopy(bytes, start, buffer, length, size);
        length += size;
        return this;
    }

    /** Append what another writer holds, as it is. */
    PackWriter append(PackWriter other) {
        reserve(other.length);
        System.arraycopy(other.buffer, 0, buffer, length, other.length);
        length += other.length;
        return this;
    }

    private PackWriter sized(int type, int size) {
        reserve(5);
        buffer[length++] = (byte) type;
        fourBytes(size);
        return this;
    }

    private void fourBytes(int value) {
        buffer[length++] = (byte) (value >>> 24);
        buffer[length++] = (byte) (value >>> 16);
        buffer[length++] = (byte) (value >>> 8);
        buffer[length++] = (byte) value;
    }

    private void reserve(int count) {
        if (length + count > buffer.length) {
            buffer = Arrays.copyOf(buffer, Math.max(2 * buffer.length, length + count));
        }
    }
}
