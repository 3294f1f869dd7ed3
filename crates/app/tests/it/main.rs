//! Use cases against a real store, with a clock that the test moves.

mod approval;
mod attestation;
mod bootstrap;
mod ca_rotations;
mod detection;
mod dids;
mod endorsement;
mod enroll;
mod fixture;
mod fleet;
mod identity_policy;
mod issuers;
mod other_certificates;
mod presence;
mod registry;
mod releases;
mod rollouts;
mod rotation;
mod shadow;
mod simulation;
mod tokens;
mod transfers;
mod vault;
mod ways_out;
