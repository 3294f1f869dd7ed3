//! Simulated fleet, load and benchmarks from the command line.

fn main() {}
