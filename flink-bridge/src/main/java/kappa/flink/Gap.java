package kappa.flink;

/** A fact about a partition of a log: there is no record from `start` to before `end`, only marks of transactions. */
record Gap(int partition, long start, long end) {}
