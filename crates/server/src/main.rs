//! The Fleetward server.

fn main() {}
