//! Certificates, requests and CMS as bytes and values.
//!
//! Pure: no clock, no file, no socket; the time is an argument. Two things come from elsewhere by need: a [`Signer`] is
//! given by its owner (a key in a file, a sealed key, later a token), and [`key::SoftKey`] and [`rsa::RsaKey`] take the
//! random numbers of their own keys and signatures from the cryptographic library, because a chosen one would give the
//! key away.
//!
//! What is written is written by `asn1` byte by byte, so that a subject or a public key that came from a device keeps
//! the bytes it came with (fioconfig and others compare them). What is read is read with the `der` and `x509-cert`
//! crates; no input makes a reader panic, which property tests and the targets in `fuzz/` hold.
//!
//! Another profile of certificate is a function in [`ca`] or [`leaf`] over [`issue::Template`].

pub mod anchors;
mod asn1;
pub mod attestation_key;
pub mod ca;
pub mod certificate;
pub mod checkpoint;
pub mod cms;
pub mod crl;
pub mod csr;
pub mod csrattrs;
pub mod did;
pub mod est;
pub mod factory;
pub mod foreign;
pub mod identity;
pub mod issue;
pub mod jws;
pub mod jwt;
pub mod key;
pub mod leaf;
pub mod merkle;
pub mod name;
pub mod ocsp;
pub mod offline;
pub mod pem;
pub mod rsa;
pub mod scep;
pub mod trust;

pub use certificate::Certificate;
pub use csr::{Csr, CsrError};
pub use identity::{ClaimName, Identity};
pub use issue::{IssueError, Issued, Serial, Validity};
pub use key::{Algorithm, SignError, Signer, SoftKey};
pub use rsa::RsaKey;
pub use trust::{
    Authority, Presented, TrustError, TrustIndex, Verified, VerifiedClaim, VerifiedFactory, VerifiedNameless,
};
