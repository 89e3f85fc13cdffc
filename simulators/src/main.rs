//! Fleets of simulated devices, receivers of pushes, and the ledger that proves nothing was lost.

fn main() {}
