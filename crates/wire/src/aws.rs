//! The AWS IoT device messages: reserved topics, device shadow, jobs, commands, fleet provisioning.
//!
//! Names on the wire are AWS's own, so are the texts of its errors. Time stamps are whole seconds since 1970.

pub mod commands;
pub mod document;
pub mod events;
pub mod jobs;
pub mod message;
pub mod provisioning;
pub mod shadow;
pub mod sigv4;
pub mod steps;
pub mod time;
mod token;
pub mod topic;

pub use token::client_token;
