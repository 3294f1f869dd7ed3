//! The workshop: a simulated fleet, the load it makes, the benchmarks and the demo.
//!
//! It stands outside the server as a device or an operator does and goes through the same doors: EST, MQTT, artifacts
//! over mTLS, REST. What it measures and tells is what a stranger would see: it links none of the server's crates, but for
//! `bench::fill`, which lays out a million devices before the server that is measured starts.
//! Its MQTT codec is its own on purpose: a mistake of the broker's codec does not cancel itself out here.
//!
//! Another benchmark is a file in [`mod@bench`] with a `run` function, an arm in [`bench::Bench`] and a row in
//! `docs/benchmarks.md`.

pub mod bench;
pub mod demo;
pub mod device;
pub mod est;
pub mod http;
pub mod identity;
pub mod json;
pub mod mqtt;
pub mod net;
pub mod process;
pub mod rest;
pub mod server;
pub mod tls;
