//! The broker from the outside: over streams in memory and over a socket.

#![expect(clippy::cast_possible_truncation, reason = "packets of tests are short")]

mod abuse;
mod client;
mod connect;
mod crash;
mod house;
mod publish;
mod sessions;
mod subscribe;
mod tcp;
