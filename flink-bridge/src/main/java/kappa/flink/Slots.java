package kappa.flink;

import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.types.Row;

/**
 * The Flink key of each partition: an int, chosen so that the partitions' key groups spread evenly over the subtasks.
 *
 * <p>A pure function of both counts, for the keys lie in savepoints.
 */
final class Slots {
    private Slots() {}

    static int[] of(int partitions, int maxParallelism) {
        int[] slots = new int[partitions];
        int[] untried = new int[maxParallelism];
        for (int partition = 0; partition < partitions; partition++) {
            int group = group(partition, partitions, maxParallelism);
            int slot = untried[group];
            while (KeyGroupRangeAssignment.assignToKeyGroup(key(slot), maxParallelism) != group) {
                slot++;
            }
            slots[partition] = slot;
            untried[group] = slot + 1;
        }
        return slots;
    }

    /** Rounded up, so that a partition falls to the subtask of its share: to subtask 1 of 3 from a third of them on. */
    private static int group(int partition, int partitions, int maxParallelism) {
        long group = ((long) partition * maxParallelism + partitions - 1) / partitions;
        return (int) Math.min(group, maxParallelism - 1);
    }

    /** Return the key as PyFlink's key selector makes it. */
    static Row key(int slot) {
        return Row.of(slot);
    }
}
