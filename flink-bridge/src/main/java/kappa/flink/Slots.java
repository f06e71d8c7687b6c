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
            int group = (int) ((long) partition * maxParallelism / partitions);
            int slot = untried[group];
            while (KeyGroupRangeAssignment.assignToKeyGroup(key(slot), maxParallelism) != group) {
                slot++;
            }
            slots[partition] = slot;
            untried[group] = slot + 1;
        }
        return slots;
    }

    /** Return the key as PyFlink's key selector makes it. */
    static Row key(int slot) {
        return Row.of(slot);
    }
}
