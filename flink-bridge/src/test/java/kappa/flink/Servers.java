package kappa.flink;

import java.util.function.BooleanSupplier;

/** The servers that some tests run against: whoever starts them says where they are. */
final class Servers {
    static final String POSTGRES = "kappa.postgres";
    static final String KAFKA = "kappa.kafka";

    private static final long WAIT_MS_MAX = 60_000;

    private Servers() {}

    /** Wait until something is true; a minute is for a machine that is busy with something else. */
    static void eventually(BooleanSupplier happened) throws InterruptedException {
        long giveUpAt = System.nanoTime() + WAIT_MS_MAX * 1_000_000;
        while (!happened.getAsBoolean()) {
            if (System.nanoTime() - giveUpAt > 0) {
                throw new AssertionError("it did not happen");
            }
            Thread.sleep(10);
        }
    }
}
