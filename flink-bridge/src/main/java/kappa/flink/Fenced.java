package kappa.flink;

/** Somebody newer writes this version's rows. Final: unlike after a lost connection, trying again is no help. */
final class Fenced extends Exception {
    private static final long serialVersionUID = 1L;

    Fenced(String table, int group, long epoch, Long current) {
        super("cannot write group %d of %s with epoch %d: %s"
                .formatted(
                        group, table, epoch, current == null ? "the table is gone" : "its epoch is " + current + " now"));
    }
}
