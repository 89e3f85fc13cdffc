//! End to end: stories, faults, other clients, the benchmarks
