//! The binary: HTTP, command line, configuration; puts all together, starts and stops it.

fn main() {}
