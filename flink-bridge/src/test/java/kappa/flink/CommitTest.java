package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;

class CommitTest {
    @Test
    void aCommitIsReadAsPythonWritesIt() throws Exception {
        MessageBufferPacker message = MessagePack.newDefaultBufferPacker();
        message.packArrayHeader(6).packInt(3).packLong(1L << 40).packLong(-5).packString("{\"0\":7}");
        message.packBinaryHeader(2).writePayload(new byte[] {1, 2}).packBinaryHeader(0);

        Commit commit = Commit.of(message.toByteArray());

        assertEquals(3, commit.partition());
        assertEquals(1L << 40, commit.nextOffset());
        assertEquals(-5, commit.watermarkUs());
        assertEquals("{\"0\":7}", commit.origins());
        assertArrayEquals(new byte[] {1, 2}, commit.rows());
        assertArrayEquals(new byte[0], commit.deadLetters());
    }
}
