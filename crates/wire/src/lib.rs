//! Messages of the foreign device protocols: bytes to values and back, for the server and for devices alike.
//!
//! Nothing here decides anything, and nothing here does I/O. A decoder takes whatever bytes it is given without panicking
//! and without allocating more than a multiple of their length; each has a fuzz target whose corpus is replayed as a test.
//! To add a protocol: a module with its messages, a property test that formatting and parsing are inverse, a fuzz target.

pub mod anchors;
pub mod attest;
pub mod aws;
pub mod azure;
pub mod issuer;
pub mod light;
pub mod renew;
pub mod transfer;
