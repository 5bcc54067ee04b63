"""The specification: pure functions over immutable values; no I/O, clock, randomness, threads or logging."""
