package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.junit.jupiter.api.Test;

class SlotsTest {
    @Test
    void partitionsSpreadEvenlyOverSubtasks() {
        int[] slots = Slots.of(12, 128);

        for (int parallelism : new int[] {1, 2, 3, 4, 6, 12}) {
            int subtasks = parallelism;
            long[] counts = new long[subtasks];
            Arrays.stream(slots)
                    .map(slot -> KeyGroupRangeAssignment.assignKeyToParallelOperator(Slots.key(slot), 128, subtasks))
                    .forEach(subtask -> counts[subtask]++);
            assertArrayEquals(IntStream.range(0, subtasks).mapToLong(each -> 12 / subtasks).toArray(), counts);
        }
    }

    @Test
    void noTwoPartitionsShareASlot() {
        assertEquals(300, Arrays.stream(Slots.of(300, 128)).distinct().count());
    }

    /** They are in savepoints. */
    @Test
    void slotsStayWhatTheyAre() {
        assertEquals("[250, 13, 22, 113]", Arrays.toString(Slots.of(4, 128)));
    }
}
