//! A small MQTT client, 3.1.1 and 5, for many connections in one process.
//!
//! It knows what a device needs: CONNECT, PUBLISH and SUBSCRIBE at QoS 0 and 1, ping and DISCONNECT. It refuses what no
//! server may send to such a client. An idle connection keeps no buffer.

pub mod client;
pub mod codec;

pub use client::{Client, Failure, Options};
pub use codec::{Connack, Malformed, Packet, Publish, Version};

#[cfg(test)]
mod tests;
