//! PKCS#11 tokens: keys that sign or wrap and never leave.
//!
//! The library is loaded once and called from a few threads of its own only, each with sessions of its own (a session is not
//! shared, PKCS#11 §5.6), so that no slow token holds up the runtime. A session that broke is opened again once. A wrong PIN
//! is tried once and never again: tokens lock themselves.

mod key;
mod module;
mod seal;

pub use key::TokenKey;
pub use module::{Module, ModuleConfig};
pub use seal::Pkcs11Seal;
