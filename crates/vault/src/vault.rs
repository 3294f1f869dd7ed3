//! An installation's keys in memory: opened under the seal, used to seal and open, dropped when they are disabled.
//!
//! ```text
//! seal (file, passphrase, token, TPM, service) -> root key -> one key for each owner -> a key for each purpose -> seals
//! ```
//! An owner is a tenant, or the installation (the empty name). Owners' keys are random and stored wrapped under the root
//! key: to destroy one is to destroy all that its owner had sealed, and to rotate is to wrap again. The store's rows go in
//! by [`Vault::load`], new ones come out as [`StoredKey`]s; this module knows no database.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use base::{Rng, Secret};
use parking_lot::{Mutex, RwLock};

use fleetward_base as base;

use crate::mac::{Mac, MacPurpose};
use crate::master::MasterKey;
use crate::root::{self, RootKey, RootSeal, RootSealError};
use crate::sealing::{BY_HIERARCHY, BY_MASTER, Fault, KeyId, Parts, RawKey, SealingKey, hex, random_key};
use crate::seals::LocalSeal;
use crate::stored::{KeyKind, StoredKey, sealed_under};

/// What a stored key is wrapped for; none of [`Purpose`] has this text.
const WRAPPED_KEY: &str = "wrapped-key";

/// What something is sealed for. A seal of one purpose does not open under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A private key, in PKCS#8.
    SigningKey,
    /// An answer that is kept to be given again (it may hold a token).
    Response,
    /// A secret of a tenant or of the installation.
    Secret,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::SigningKey => "signing-key",
            Self::Response => "response",
            Self::Secret => "secret",
        }
    }
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the vault is not open yet")]
    Closed,
    #[error("the keys of {} are disabled", whose(.owner))]
    Disabled { owner: String },
    #[error("there is no key of {}", whose(.owner))]
    Unknown { owner: String },
}

/// Why a seal does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "sealed under the key {sealed_under}, which is not there (in use is {in_use}): it was destroyed, or this is another installation's"
    )]
    WrongKey { sealed_under: String, in_use: String },
    #[error("not a seal, or of a version that this program does not know")]
    Malformed,
    #[error("the seal is broken: it was changed, or moved from where it was made")]
    Broken,
}

fn whose(owner: &str) -> &str {
    if owner.is_empty() { "the installation" } else { owner }
}

/// A key that was just made and is not in use before its row was kept.
pub struct NewKey {
    pub stored: StoredKey,
    key: SealingKey,
}

impl NewKey {
    /// Seals under the new key, within the transaction that makes it.
    pub fn seal(&self, rng: &dyn Rng, purpose: Purpose, bound_to: &[&str], plaintext: &[u8]) -> Vec<u8> {
        self.key.seal(rng, purpose.as_str(), bound_to, plaintext)
    }
}

#[derive(Clone)]
struct Opened {
    key: SealingKey,
    version: u64,
    active: bool,
}

/// The keys of one owner or of the root, by key id.
type Ring = HashMap<KeyId, Opened>;

fn active(ring: &Ring) -> Option<&Opened> {
    ring.values().filter(|opened| opened.active).max_by_key(|opened| opened.version)
}

#[derive(Clone, Default)]
struct Keys {
    open: bool,
    roots: Ring,
    owners: HashMap<String, Ring>,
    /// Opens what was sealed before there was a hierarchy.
    master: Option<SealingKey>,
    /// Authenticates, and is never rotated: what was tagged is compared for years.
    anchor: Option<SealingKey>,
    /// Empty name: every tenant.
    disabled: HashSet<String>,
}

impl Keys {
    /// The installation's own key is never disabled: without it no server could start and nobody enable again.
    fn is_disabled(&self, owner: &str) -> bool {
        !owner.is_empty() && (self.disabled.contains("") || self.disabled.contains(owner))
    }
}

/// The keys of an installation: seals, opens and authenticates.
pub struct Vault {
    seal: Arc<dyn RootSeal>,
    keys: RwLock<Arc<Keys>>,
    /// Uses of disabled keys since somebody last asked.
    refused: Mutex<HashMap<String, u64>>,
    /// What authenticates texts where nothing else does: made once, so that a text made by one call is known by the next.
    passing: OnceLock<SealingKey>,
}

impl Vault {
    /// Under a master key that the caller has.
    pub fn new(master: &MasterKey) -> Self {
        Self::sealed_by(Arc::new(LocalSeal::new(master.clone(), "master-key")))
    }

    /// Under any seal. Nothing opens before [`Self::load`].
    pub fn sealed_by(seal: Arc<dyn RootSeal>) -> Self {
        Self { seal, keys: RwLock::default(), refused: Mutex::default(), passing: OnceLock::new() }
    }

    /// What keeps the root key shut.
    pub fn root_seal(&self) -> &Arc<dyn RootSeal> {
        &self.seal
    }

    /// Drops every key of the tenants in `disabled` (an empty name means all of them) and uses none of theirs until a later
    /// call leaves them out and [`Self::load`] opens them again.
    pub fn disable(&self, disabled: impl IntoIterator<Item = String>) {
        let mut held = self.keys.write();
        let mut keys = Keys { disabled: disabled.into_iter().collect(), ..Keys::clone(&held) };
        let owners = std::mem::take(&mut keys.owners);
        keys.owners = owners.into_iter().filter(|(owner, _)| !keys.is_disabled(owner)).collect();
        *held = Arc::new(keys);
    }

    /// Brings memory up to what the store has: opens what is new, forgets what is gone.
    ///
    /// # Errors
    /// Where the seal does not open the root key, or a row does not open under it. Nothing changes then.
    pub async fn load(&self, stored: &[StoredKey]) -> Result<(), RootSealError> {
        let known = Arc::clone(&self.keys.read());
        let mut keys = Keys { open: true, disabled: known.disabled.clone(), ..Keys::default() };
        self.open_roots(&known, &mut keys, stored).await?;
        open_rows(&known, &mut keys, stored)?;
        *self.keys.write() = Arc::new(keys);
        Ok(())
    }

    async fn open_roots(&self, known: &Keys, keys: &mut Keys, stored: &[StoredKey]) -> Result<(), RootSealError> {
        for row in stored.iter().filter(|row| row.kind == KeyKind::Root) {
            let id = root::Envelope::parse(&row.wrapped)?.key_id;
            let key = match known.roots.get(id) {
                Some(opened) => opened.key.clone(),
                None => root::unwrap(self.seal.as_ref(), &row.wrapped).await?.sealing(),
            };
            keys.roots.insert(*id, Opened { key, version: row.version, active: row.active });
        }
        Ok(())
    }

    /// A new root key, wrapped by the seal. It is in use once its row was loaded.
    ///
    /// # Errors
    /// Where the seal does not do its work.
    pub async fn new_root(&self, rng: &dyn Rng, version: u64) -> Result<(StoredKey, RootKey), RootSealError> {
        let key = RootKey(random_key(rng));
        let wrapped = root::wrap(self.seal.as_ref(), &key).await?;
        let key_id = hex(&key.sealing().id());
        let stored = StoredKey { owner: String::new(), kind: KeyKind::Root, version, key_id, wrapped, active: true };
        Ok((stored, key))
    }

    /// Whether the seal in use opens this root key: it may have been changed since this server started.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn proves(&self, row: &StoredKey) -> Result<(), RootSealError> {
        root::unwrap(self.seal.as_ref(), &row.wrapped).await.map(drop)
    }

    /// The root key in `row` wrapped by another seal, for a migration to it.
    ///
    /// # Errors
    /// Where either seal does not do its work.
    pub async fn rewrap_root(&self, row: &StoredKey, to: &dyn RootSeal) -> Result<Vec<u8>, RootSealError> {
        let key = root::unwrap(self.seal.as_ref(), &row.wrapped).await?;
        root::wrap(to, &key).await
    }

    /// A new key of an owner, wrapped under the root key in use.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new_owner_key(&self, rng: &dyn Rng, owner: &str, version: u64) -> Result<NewKey, KeyError> {
        let keys = self.usable(owner)?;
        let root = active(&keys.roots).ok_or(KeyError::Closed)?;
        Ok(new_owner_key(&root.key, rng, owner, version))
    }

    /// As [`Self::new_owner_key`], under a root key that is not in use yet.
    pub fn first_owner_key(rng: &dyn Rng, root: &RootKey, owner: &str) -> NewKey {
        new_owner_key(&root.sealing(), rng, owner, 1)
    }

    /// A new key that authenticates.
    pub fn first_anchor(rng: &dyn Rng, root: &RootKey) -> StoredKey {
        let raw = random_key(rng);
        let wrapped = wrap_row(&root.sealing(), rng, KeyKind::Anchor, "", 1, &raw);
        let key_id = hex(&SealingKey::new(BY_MASTER, raw.expose()).id());
        StoredKey { owner: String::new(), kind: KeyKind::Anchor, version: 1, key_id, wrapped, active: true }
    }

    /// Wraps the master key of an installation from before the hierarchy under `root`.
    pub fn wrap_master(rng: &dyn Rng, root: &RootKey, master: &MasterKey) -> StoredKey {
        let wrapped = wrap_row(&root.sealing(), rng, KeyKind::Master, "", 1, &master.0);
        let key_id = hex(&SealingKey::new(BY_MASTER, master.0.expose()).id());
        StoredKey { owner: String::new(), kind: KeyKind::Master, version: 1, key_id, wrapped, active: false }
    }

    /// `row` wrapped under the root key in use; `None` where it is so already.
    ///
    /// # Errors
    /// Where the root key that wrapped it is not there, or the row was changed.
    pub fn rewrap(&self, rng: &dyn Rng, row: &StoredKey) -> Result<Option<Vec<u8>>, OpenError> {
        let keys = self.usable("")?;
        let root = active(&keys.roots).ok_or(KeyError::Closed)?;
        if wrapped_by(&row.wrapped).is_some_and(|id| id == root.key.id()) {
            return Ok(None);
        }
        let raw = open_row(&keys.roots, row).map_err(|fault| open_error(fault, &root.key))?;
        Ok(Some(wrap_row(&root.key, rng, row.kind, &row.owner, row.version, &raw)))
    }

    /// Names the owner's key in use.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn key_id(&self, owner: &str) -> Result<String, KeyError> {
        let keys = self.usable(owner)?;
        Ok(hex(&active_of(&keys, owner)?.key.id()))
    }

    /// Names the root key in use.
    pub fn root_key_id(&self) -> Option<String> {
        active(&self.keys.read().roots).map(|root| hex(&root.key.id()))
    }

    /// Whether keys of this owner are in memory, or known to be disabled.
    pub fn knows(&self, owner: &str) -> bool {
        let keys = self.keys.read();
        keys.is_disabled(owner) || keys.owners.contains_key(owner)
    }

    /// Whether the owner's keys may be used.
    ///
    /// # Errors
    /// [`KeyError::Disabled`] where they are disabled; it counts as a use that was refused.
    pub fn check(&self, owner: &str) -> Result<(), KeyError> {
        self.usable(owner).map(drop)
    }

    /// As [`Self::check`], for who only asks.
    pub fn is_usable(&self, owner: &str) -> bool {
        let keys = self.keys.read();
        keys.open && !keys.is_disabled(owner)
    }

    /// Uses of disabled keys since the last call, by owner.
    pub fn take_refused(&self) -> Vec<(String, u64)> {
        self.refused.lock().drain().collect()
    }

    /// Seals `plaintext` for `purpose`, bound to the fields in `bound_to`. The first names the owner (a tenant, or empty for
    /// the installation), whose key it is sealed under; the others most often the row.
    ///
    /// # Errors
    /// [`KeyError`]: the owner has no key, or it is disabled.
    pub fn seal(
        &self,
        rng: &dyn Rng,
        purpose: Purpose,
        bound_to: &[&str],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let owner = bound_to.first().copied().unwrap_or_default();
        let keys = self.usable(owner)?;
        Ok(active_of(&keys, owner)?.key.seal(rng, purpose.as_str(), bound_to, plaintext))
    }

    /// Opens what [`Self::seal`] made with the same purpose and fields, under whichever key of its owner.
    ///
    /// # Errors
    /// [`OpenError`]: no such key, disabled, not a seal, or changed or moved.
    pub fn open(&self, purpose: Purpose, bound_to: &[&str], sealed: &[u8]) -> Result<Secret<Vec<u8>>, OpenError> {
        let owner = bound_to.first().copied().unwrap_or_default();
        let keys = self.usable(owner)?;
        let parts = Parts::of(sealed).ok_or(OpenError::Malformed)?;
        let key = if parts.version == BY_MASTER {
            keys.master.as_ref().filter(|master| master.id() == *parts.key_id)
        } else {
            keys.owners.get(owner).and_then(|ring| ring.get(parts.key_id)).map(|opened| &opened.key)
        };
        let Some(key) = key else {
            let in_use = active_of(&keys, owner)?.key.id();
            return Err(OpenError::WrongKey { sealed_under: hex(parts.key_id), in_use: hex(&in_use) });
        };
        key.open(purpose.as_str(), bound_to, sealed).map_err(|fault| open_error(fault, key))
    }

    /// The same sealed under the owner's key in use; `None` where it is so already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reseal(
        &self,
        rng: &dyn Rng,
        purpose: Purpose,
        bound_to: &[&str],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, OpenError> {
        let owner = bound_to.first().copied().unwrap_or_default();
        if sealed_under(sealed).is_some_and(|id| self.key_id(owner).is_ok_and(|active| active == id)) {
            return Ok(None);
        }
        let plain = self.open(purpose, bound_to, sealed)?;
        Ok(Some(self.seal(rng, purpose, bound_to, plain.expose())?))
    }

    /// Whether `master` is what sealed this, before there was a hierarchy.
    pub fn opens_under(
        master: &MasterKey,
        purpose: Purpose,
        bound_to: &[&str],
        sealed: &[u8],
    ) -> Result<(), OpenError> {
        let key = SealingKey::new(BY_MASTER, master.0.expose());
        key.open(purpose.as_str(), bound_to, sealed).map(drop).map_err(|fault| open_error(fault, &key))
    }

    /// The key that authenticates texts of one purpose. It outlives every rotation and every change of the seal.
    pub fn mac(&self, purpose: MacPurpose) -> Mac {
        let anchor = self.keys.read().anchor.clone();
        let of_seal = || self.seal.master().map(|master| SealingKey::new(BY_MASTER, master.0.expose()));
        // Before it is open, and under a seal that is no key: tags that hold for as long as the process runs.
        let key = anchor.or_else(of_seal);
        let passing =
            || self.passing.get_or_init(|| SealingKey::new(BY_MASTER, random_key(&base::SystemRng).expose())).clone();
        key.unwrap_or_else(passing).mac(purpose)
    }

    fn usable(&self, owner: &str) -> Result<Arc<Keys>, KeyError> {
        let keys = Arc::clone(&self.keys.read());
        if !keys.open {
            return Err(KeyError::Closed);
        }
        if keys.is_disabled(owner) {
            *self.refused.lock().entry(owner.to_owned()).or_default() += 1;
            return Err(KeyError::Disabled { owner: owner.to_owned() });
        }
        Ok(keys)
    }
}

fn active_of<'k>(keys: &'k Keys, owner: &str) -> Result<&'k Opened, KeyError> {
    keys.owners.get(owner).and_then(active).ok_or_else(|| KeyError::Unknown { owner: owner.to_owned() })
}

fn new_owner_key(root: &SealingKey, rng: &dyn Rng, owner: &str, version: u64) -> NewKey {
    let raw = random_key(rng);
    let key = SealingKey::new(BY_HIERARCHY, raw.expose());
    let wrapped = wrap_row(root, rng, KeyKind::Owner, owner, version, &raw);
    let key_id = hex(&key.id());
    let stored = StoredKey { owner: owner.to_owned(), kind: KeyKind::Owner, version, key_id, wrapped, active: true };
    NewKey { stored, key }
}

fn wrap_row(root: &SealingKey, rng: &dyn Rng, kind: KeyKind, owner: &str, version: u64, raw: &RawKey) -> Vec<u8> {
    root.seal(rng, WRAPPED_KEY, &[kind.as_str(), owner, &version.to_string()], raw.expose())
}

fn open_row(roots: &Ring, row: &StoredKey) -> Result<RawKey, Fault> {
    let id = wrapped_by(&row.wrapped).ok_or(Fault::Malformed)?;
    let root = roots.get(&id).ok_or(Fault::OtherKey(id))?;
    root.key.open_key(WRAPPED_KEY, &[row.kind.as_str(), &row.owner, &row.version.to_string()], &row.wrapped)
}

fn wrapped_by(wrapped: &[u8]) -> Option<KeyId> {
    Parts::of(wrapped).map(|parts| *parts.key_id)
}

fn open_rows(known: &Keys, keys: &mut Keys, stored: &[StoredKey]) -> Result<(), RootSealError> {
    for row in stored {
        match row.kind {
            KeyKind::Root => {}
            KeyKind::Owner if keys.is_disabled(&row.owner) => {}
            KeyKind::Anchor => keys.anchor = Some(opened(&keys.roots, known.anchor.iter(), row, BY_MASTER)?),
            KeyKind::Master => keys.master = Some(opened(&keys.roots, known.master.iter(), row, BY_MASTER)?),
            KeyKind::Owner => {
                let before = known.owners.get(&row.owner).into_iter().flat_map(HashMap::values);
                let key = opened(&keys.roots, before.map(|opened| &opened.key), row, BY_HIERARCHY)?;
                let ring = keys.owners.entry(row.owner.clone()).or_default();
                ring.insert(key.id(), Opened { key, version: row.version, active: row.active });
            }
        }
    }
    Ok(())
}

/// The key of a row: as it is in memory, or opened.
fn opened<'k>(
    roots: &Ring,
    mut before: impl Iterator<Item = &'k SealingKey>,
    row: &StoredKey,
    version: u8,
) -> Result<SealingKey, RootSealError> {
    if let Some(known) = before.find(|key| hex(&key.id()) == row.key_id) {
        return Ok(known.clone());
    }
    let raw = open_row(roots, row).map_err(|_| RootSealError::Broken {
        seal: "the root key".to_owned(),
        reason: format!("the key {} of {} was changed, or its root key is gone", row.key_id, whose(&row.owner)),
    })?;
    let key = SealingKey::new(version, raw.expose());
    if hex(&key.id()) == row.key_id { Ok(key) } else { Err(RootSealError::Malformed) }
}

fn open_error(fault: Fault, key: &SealingKey) -> OpenError {
    match fault {
        Fault::OtherKey(id) => OpenError::WrongKey { sealed_under: hex(&id), in_use: hex(&key.id()) },
        Fault::Malformed => OpenError::Malformed,
        Fault::Broken => OpenError::Broken,
    }
}

#[cfg(test)]
mod tests;
