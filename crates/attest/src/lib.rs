//! What a device says about itself and proves: evidence of TPMs, EAT and PSA tokens, DICE chains.
//!
//! Pure: bytes and values in, facts or a reason out. Each verifier says what its evidence proves ([`Facts`]); whether that
//! is good enough is decided in `core::attestation`. Nothing is fetched, nothing is believed because it was sent: a fact
//! stands on a signature whose key is vouched for. What a TPM's owner needs to make such evidence is in [`tpm`] too, so
//! that both ends have one set of bytes.
//!
//! Another kind of evidence is a module with a `verify`, a variant of [`Evidence`], and a fuzz target with its corpus.

pub mod tpm;
