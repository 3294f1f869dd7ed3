//! Pure decisions about devices, state, releases and rollouts.
//!
//! Values in, values out: no clock, no I/O, no randomness, no `async`. What a decision needs to know (`now` included) is an
//! argument, what it wants done is its result, and the same arguments give the same result on every machine.
//!
//! To add a noun: a module here with its types, its decision functions and their tables of cases; texts that are stored
//! come from [`text`]'s macro so that each has one spelling; predicates that must hold everywhere go to [`invariants`].

pub mod access;
pub mod approval;
pub mod attestation;
pub mod ca_rotation;
pub mod command;
pub mod deployment;
pub mod detection;
pub mod drill;
pub mod enrolment;
pub mod group;
pub mod identity_policy;
pub mod invariants;
pub mod inventory;
pub mod issuer;
pub mod job;
pub mod journal;
pub mod lifecycle;
pub mod messaging;
pub mod presence;
pub mod provisioning;
pub mod registry;
pub mod release;
pub mod revocation;
pub mod rollout;
pub mod rotation;
pub mod search;
pub mod selector;
pub mod shadow;
pub mod text;
pub mod token_issuer;
pub mod topic_policy;
pub mod transfer;
pub mod twin;
