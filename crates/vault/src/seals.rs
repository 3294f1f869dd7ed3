//! The seals, one file for each kind; that of tokens is beside the rest of PKCS#11.

mod local;
mod tpm;
mod transit;

pub use local::LocalSeal;
pub use tpm::{TpmAddress, TpmSeal, TpmSealConfig};
pub use transit::{TransitAuth, TransitSeal, TransitSealConfig};
