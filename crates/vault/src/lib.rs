//! Seals and keys.
//!
//! A root key opens an installation; a [`RootSeal`] keeps it shut: a master key from a file, a passphrase or the
//! environment, a PKCS#11 token, a TPM, a transit key of Vault or OpenBao. Under it each tenant and the installation have
//! a random key of their own ([`Vault`]), and from that come, each by HKDF under its own name, the keys that seal private
//! keys, secrets and kept answers. Sealed private keys become [`Signer`](fleetward_pki::Signer)s; those in a token stay there.
//!
//! What it refuses: a key file that others may read, a seal whose key is not there (by its id, with a clear error), a seal
//! that was moved to another tenant, purpose or name, every use of a tenant's keys while they are disabled, and to write
//! any key in the clear.
//!
//! Another purpose is a variant of [`Purpose`] or [`MacPurpose`]; its text must never change once something is sealed
//! under it. Another place for the root key is an implementation of [`RootSeal`] in `seals/`. `docs/adr/0011-key-hierarchy.md`
//! says why it is made so.

mod kept;
mod mac;
mod master;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod root;
mod rsa;
mod sealing;
mod seals;
mod signer;
mod source;
mod stored;
mod tokens;
mod uri;
mod vault;

pub use kept::KeptKeyError;
pub use mac::{Mac, MacPurpose};
pub use master::{MasterKey, MasterKeyError};
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Module, ModuleConfig, Pkcs11Seal, TokenKey};
pub use root::{ENVELOPE_BYTES_MAX, Envelope, RootKey, RootSeal, RootSealError, SealKind};
pub use rsa::NewRsaKey;
pub use seals::*;
pub use signer::{NewSigningKey, SignerError};
pub use source::{SecretSource, SourceError};
pub use stored::{KeyKind, StoredKey, seal_header, sealed_under};
pub use tokens::{TokenError, Tokens};
pub use uri::{KeyUri, UriError};
pub use vault::{KeyError, NewKey, OpenError, Purpose, Vault};
