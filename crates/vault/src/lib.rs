//! Seals and keys.
//!
//! One master key, from a file, a passphrase or the environment, opens an installation. From it come, each by HKDF under
//! its own name: the keys that seal ([`Vault::seal`], for private keys and kept answers), and the keys that
//! authenticate ([`Vault::mac`], for tokens and cursors). Sealed private keys become [`Signer`](fleetward_pki::Signer)s.
//!
//! What it refuses: a key file that others may read, a seal of another master key (by its id, with a clear error), a
//! seal that was moved to another tenant, purpose or name, and to write any key in the clear.
//!
//! Another purpose is a variant of [`Purpose`] or [`MacPurpose`]; its text must never change once something is sealed
//! under it. `docs/adr/0004-sealed-keys.md` says why it is made so.

mod mac;
mod master;
mod seal;
mod signer;

pub use mac::{Mac, MacPurpose};
pub use master::{MasterKey, MasterKeyError};
pub use seal::{OpenError, Purpose, Vault};
pub use signer::{NewSigningKey, SignerError};
