//! The device agent.
//!
//! Six state machines that do no I/O decide: `machine` (updates), `steps` (jobs that are none), `jobs`, `shadow` and `commands` (the
//! conversation with the server) and `identity` (keys and certificates). `agent` performs. All that must survive a power cut goes through [`disk::Disk`], so
//! that the tests can cut it at every step. To add a step to the update, begin in `machine` and its `power_cut` test; to add a
//! new file, say there when it becomes durable.

pub mod agent;
pub mod anchors;
pub mod attest;
pub mod attester;
pub mod clock;
pub mod commands;
pub mod disk;
pub mod download;
pub mod est;
pub mod handlers;
pub mod handover;
pub mod http;
pub mod identity;
pub mod jobs;
pub mod keys;
pub mod machine;
pub mod mqtt;
pub mod options;
pub mod record;
pub mod shadow;
pub mod slots;
pub mod status;
pub mod steps;
pub mod tls;
pub mod tpm;
