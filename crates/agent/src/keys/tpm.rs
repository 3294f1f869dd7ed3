//! Keys in a TPM 2.0: a persistent object for each place, made under the storage key of the owner's hierarchy.
//!
//! Such a key is born in the TPM and cannot leave it. Persistent objects outlive a power cut, and making one persistent is one
//! step of the TPM's own. The handles are in the owner's range (TPM 2.0 Part 2 §13.8; TCG registry of reserved handles).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleetward_attest::tpm::{Handle, Hash, Tpm, TpmError, template};
use fleetward_pki::key::{Algorithm, SignError, Signer};

use super::{DeviceKey, KeyError, Keys, signature_der};
use crate::record::Slot;
use crate::tpm::Place;

const PLACE_A: u32 = 0x8101_0f1a;
const PLACE_B: u32 = 0x8101_0f1b;

/// The persistent handle of a place, for whoever has the key certified.
pub const fn handle(place: Slot) -> Handle {
    Handle(match place {
        Slot::A => PLACE_A,
        Slot::B => PLACE_B,
    })
}

/// The keys of this machine's TPM.
#[derive(Clone)]
pub struct TpmKeys(Arc<Mutex<Line>>);

/// The connection, opened anew after it broke: a TPM's resource manager may be started again.
struct Line {
    place: Place,
    open: Option<Tpm>,
}

impl fmt::Debug for TpmKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TpmKeys")
    }
}

fn refused(error: TpmError) -> KeyError {
    KeyError::Holder { holder: "TPM", reason: error.to_string() }
}

impl TpmKeys {
    /// # Errors
    /// Where there is no TPM.
    pub fn open(place: Place) -> Result<Self, KeyError> {
        let open = Some(place.open()?);
        Ok(Self(Arc::new(Mutex::new(Line { place, open }))))
    }

    /// Does something with the TPM; others wait meanwhile.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Tpm) -> Result<T, TpmError>) -> Result<T, TpmError> {
        let mut line: MutexGuard<'_, Line> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tpm = match line.open.take() {
            Some(tpm) => tpm,
            None => line.place.open()?,
        };
        let done = work(&mut tpm);
        // What broke in the middle of a command is not asked the next one.
        if !matches!(done, Err(TpmError::Transport(_))) {
            line.open = Some(tpm);
        }
        done
    }
}

/// Whether there is an object under the handle. A TPM that refuses to show one has none there.
fn public_of(tpm: &mut Tpm, place: Slot) -> Result<Option<Vec<u8>>, TpmError> {
    match tpm.read_public(handle(place)) {
        Ok(public) => Ok(Some(public.spki())),
        Err(TpmError::Refused { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

fn take_away(tpm: &mut Tpm, place: Slot) -> Result<(), TpmError> {
    if public_of(tpm, place)?.is_some() {
        tpm.evict_control(handle(place), handle(place))?;
    }
    Ok(())
}

fn make(tpm: &mut Tpm, place: Slot) -> Result<(), TpmError> {
    take_away(tpm, place)?;
    let (parent, _) = tpm.create_primary(Handle::OWNER, &template::storage_p256())?;
    let made = tpm.create(parent, &template::device_p256()).and_then(|made| tpm.load(parent, &made));
    // A TPM has room for three transient objects: what was made is let go of whatever came of it.
    tpm.flush(parent)?;
    let key = made?;
    let kept = tpm.evict_control(key, handle(place));
    tpm.flush(key)?;
    kept
}

impl Keys for TpmKeys {
    fn make(&self, place: Slot) -> Result<(), KeyError> {
        self.with(|tpm| make(tpm, place)).map_err(refused)
    }

    fn open(&self, place: Slot) -> Result<Option<DeviceKey>, KeyError> {
        let spki = self.with(|tpm| public_of(tpm, place)).map_err(refused)?;
        Ok(spki.map(|spki| Arc::new(TpmKey { keys: self.clone(), place, spki }) as DeviceKey))
    }

    fn remove(&self, place: Slot) -> Result<(), KeyError> {
        self.with(|tpm| take_away(tpm, place)).map_err(refused)
    }
}

/// A key that the TPM signs with.
struct TpmKey {
    keys: TpmKeys,
    place: Slot,
    spki: Vec<u8>,
}

impl Signer for TpmKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EcdsaP256Sha256
    }

    fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let digest = Hash::Sha256.digest(&[message]);
        let signature = self.keys.with(|tpm| tpm.sign(handle(self.place), &digest));
        let signature = signature.map_err(|error| SignError(error.to_string()))?;
        let fixed = signature.fixed(32).ok_or_else(|| SignError(String::from("the TPM's signature is too long")))?;
        signature_der(&fixed).ok_or_else(|| SignError(String::from("the TPM's signature has no two numbers")))
    }
}
