//! The broker from the outside: over streams in memory and over a socket.

#![expect(clippy::cast_possible_truncation, clippy::indexing_slicing, reason = "packets of tests are short and known")]

mod abuse;
mod client;
mod codecs;
mod connect;
mod crash;
mod crash_point;
mod differential;
mod exactly_once;
mod house;
mod hub;
mod machine;
mod profile;
mod publish;
mod quotas;
mod redirect;
mod sessions;
mod split;
mod stream;
mod subscribe;
mod tcp;
mod wills;
