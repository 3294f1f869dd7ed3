//! Simulated fleet, scenarios, load and benchmarks.
