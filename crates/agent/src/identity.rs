//! The device's key and certificate: two places and a pointer, so that a renewal can never lose what works.
//!
//! `identity/a` and `identity/b` each hold a key (in a file, or in hardware: [`crate::keys`]) and, once it was issued, its
//! certificate; `identity/current` names the one in use. Every step is durable before the next begins, and [`KeyStore::next_step`] finds from the files alone where a power cut
//! interrupted it: a key is on the disk before anyone is asked to certify it (so that asking again with the one-time token is
//! the same request), and the pointer moves only after the server has accepted the new certificate.

use std::io;
use std::time::Duration;

use der::pem::{LineEnding, decode_vec, encode_string};
use fleetward_base::Timestamp;
use fleetward_pki::certificate::Certificate;
use fleetward_pki::{csr, name};
use fleetward_supply::Sha256;

use crate::disk::{self, Disk};
use crate::keys::{DeviceKey, FileKeys, KeyError, Keys};
use crate::record::Slot;

const POINTER: &str = "identity/current";
/// The serial number of the certificate that the current one took the place of: it lies in the other place, and is none that
/// waits to be proven.
const REPLACED: &str = "identity/replaced";

/// A key and its certificate.
pub struct Credential {
    pub place: Slot,
    pub key: DeviceKey,
    pub certificate: Certificate,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({} {})", self.place, self.certificate.serial)
    }
}

/// What is to be done next for the device to have a certificate that lasts.
#[derive(Debug)]
pub enum Step {
    /// Make a key in this place.
    MakeKey(Slot),
    /// Ask for the first certificate for the key in this place, with the enrolment token.
    Enroll { place: Slot, request: Vec<u8> },
    /// Ask for the next certificate, with the current one as proof of who asks.
    Renew { place: Slot, request: Vec<u8> },
    /// Connect with the certificate in this place; if the server accepts it, adopt it.
    Prove(Box<Credential>),
    /// Nothing before this moment.
    Rest { until: Timestamp },
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot read or write the key store: {0}")]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the key does not sign: {0}")]
    Sign(#[from] fleetward_pki::key::SignError),
    #[error("the certificate is not one for this device's key: {0}")]
    Certificate(String),
}

/// The two places and the pointer.
#[derive(Clone, Copy)]
pub struct KeyStore<'a> {
    disk: &'a dyn Disk,
    device: &'a str,
    /// None: files.
    keys: Option<&'a dyn Keys>,
}

fn certificate_path(place: Slot) -> String {
    format!("identity/{place}/certificate.pem")
}

impl<'a> KeyStore<'a> {
    pub fn new(disk: &'a dyn Disk, device: &'a str) -> Self {
        Self { disk, device, keys: None }
    }

    /// With keys that are not in files.
    #[must_use]
    pub fn with_keys(self, keys: Option<&'a dyn Keys>) -> Self {
        Self { keys, ..self }
    }

    /// The credential in use.
    ///
    /// # Errors
    /// Where the store cannot be read; none where there is no credential yet.
    pub fn current(&self) -> Result<Option<Credential>, IdentityError> {
        let Some(pointer) = self.disk.read(POINTER)? else { return Ok(None) };
        let place = match pointer.as_slice() {
            b"a" => Slot::A,
            b"b" => Slot::B,
            _ => return Err(IdentityError::Certificate(String::from("the pointer names no place"))),
        };
        self.credential(place)
    }

    /// Finds out what comes next. `chance` of 0 to 1 moves the renewal within its window, so that a fleet made in one hour
    /// does not renew in one.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn next_step(&self, now: Timestamp, chance: f64) -> Result<Step, IdentityError> {
        self.step(now, chance, false)
    }

    /// As [`Self::next_step`]; `asked`: the current certificate is renewed now, whatever its age.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn step(&self, now: Timestamp, chance: f64, asked: bool) -> Result<Step, IdentityError> {
        let current = self.current()?;
        let place = current.as_ref().map_or(Slot::A, |current| current.place.other());
        // One that waits to be proven is proven at once, also where the current one would hold for long: the server may have
        // seen it in use before a power cut, and ends the current one then.
        if let Ok(Some(candidate)) = self.credential(place)
            && !self.was_replaced(&candidate)?
        {
            return Ok(Step::Prove(Box::new(candidate)));
        }
        if let Some(current) = &current {
            let until = renewal_time(&current.certificate, chance);
            if now < until && !asked {
                return Ok(Step::Rest { until });
            }
            if self.disk.read(&certificate_path(place))?.is_some() {
                // What the current one took the place of makes room.
                return Ok(Step::MakeKey(place));
            }
        }
        let Some(key) = self.key(place)? else { return Ok(Step::MakeKey(place)) };
        // A renewal repeats the subject byte by byte (RFC 7030 §4.2.2).
        let subject = match &current {
            Some(current) => current.certificate.subject.clone(),
            None => name::write(None, self.device),
        };
        let request = csr::write(&subject, &[], key.as_ref())?;
        Ok(if current.is_some() { Step::Renew { place, request } } else { Step::Enroll { place, request } })
    }

    /// Makes a key in this place, which must not be the current one; what was there is gone first.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn make_key(&self, place: Slot) -> Result<(), IdentityError> {
        self.discard(place)?;
        self.disk.make_folder(&format!("identity/{place}"))?;
        match self.keys {
            None => FileKeys(self.disk).make(place)?,
            Some(keys) => keys.make(place)?,
        }
        Ok(())
    }

    /// Keeps the certificate that was issued for the key in this place.
    ///
    /// # Errors
    /// Where it is for another key or device, or over already.
    pub fn keep_certificate(&self, place: Slot, der: &[u8], now: Timestamp) -> Result<(), IdentityError> {
        let certificate = Certificate::parse(der).map_err(|bad| IdentityError::Certificate(bad.to_string()))?;
        let key = self.key(place)?.ok_or(KeyError::Unusable)?;
        self.check(&key, &certificate)?;
        if certificate.not_after <= now {
            return Err(IdentityError::Certificate(String::from("it has ended already; is the clock right?")));
        }
        let pem = encode_string("CERTIFICATE", LineEnding::LF, der)
            .map_err(|_too_long| IdentityError::Certificate(String::from("it is too long")))?;
        Ok(disk::replace(self.disk, &certificate_path(place), pem.as_bytes())?)
    }

    /// Makes the credential in this place the one in use. The one before stays where it is until the next renewal.
    ///
    /// # Errors
    /// Where the pointer cannot be written; the old one is still there then.
    pub fn adopt(&self, place: Slot) -> Result<(), IdentityError> {
        // Before the pointer: until that moves, the name of the current one says nothing about the other.
        if let Some(current) = self.current()?.filter(|current| current.place != place) {
            disk::replace(self.disk, REPLACED, current.certificate.serial.to_string().as_bytes())?;
        }
        Ok(disk::replace(self.disk, POINTER, place.as_str().as_bytes())?)
    }

    /// Removes what is in a place: certificate first, so that no certificate is ever without its key.
    ///
    /// # Errors
    /// What the disk or the holder of the keys says.
    pub fn discard(&self, place: Slot) -> Result<(), IdentityError> {
        let folder = format!("identity/{place}");
        if !self.disk.list(&folder)?.is_empty() {
            self.disk.remove(&certificate_path(place))?;
            self.disk.sync_folder(&folder)?;
        }
        match self.keys {
            None => FileKeys(self.disk).remove(place)?,
            Some(keys) => keys.remove(place)?,
        }
        Ok(())
    }

    /// Forgets which credential is in use, for a device that enrols anew with a new token. The other place is used for it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn forget(&self) -> Result<(), IdentityError> {
        self.disk.remove(POINTER)?;
        self.disk.remove(REPLACED)?;
        self.disk.sync_folder("identity")?;
        self.discard(Slot::A)?;
        self.discard(Slot::B)
    }

    fn was_replaced(&self, candidate: &Credential) -> Result<bool, IdentityError> {
        let replaced = self.disk.read(REPLACED)?;
        Ok(replaced.is_some_and(|serial| serial == candidate.certificate.serial.to_string().into_bytes()))
    }

    fn key(&self, place: Slot) -> Result<Option<DeviceKey>, IdentityError> {
        Ok(match self.keys {
            None => FileKeys(self.disk).open(place)?,
            Some(keys) => keys.open(place)?,
        })
    }

    fn credential(&self, place: Slot) -> Result<Option<Credential>, IdentityError> {
        let Some(pem) = self.disk.read(&certificate_path(place))? else { return Ok(None) };
        let Some(key) = self.key(place)? else { return Ok(None) };
        let bad = |text: String| IdentityError::Certificate(text);
        let (_label, der) = decode_vec(&pem).map_err(|error| bad(error.to_string()))?;
        let certificate = Certificate::parse(&der).map_err(|error| bad(error.to_string()))?;
        self.check(&key, &certificate)?;
        Ok(Some(Credential { place, key, certificate }))
    }

    /// The certificate must be for the key in this place, and for this device.
    fn check(&self, key: &DeviceKey, certificate: &Certificate) -> Result<(), IdentityError> {
        let bad = |text: &str| IdentityError::Certificate(text.to_owned());
        if certificate.spki != key.public_spki() {
            return Err(bad("it has another public key"));
        }
        let names = name::read(&certificate.subject).map_err(|_error| bad("its subject cannot be read"))?;
        if names.common_names.as_slice() != [self.device] {
            return Err(bad("it names another device"));
        }
        Ok(())
    }
}

/// When a certificate is renewed: at two thirds of its life, give or take a tenth of it (identity design, §8).
pub fn renewal_time(certificate: &Certificate, chance: f64) -> Timestamp {
    let life = certificate.not_after.since(certificate.not_before);
    let share = 2.0 / 3.0 + (chance.clamp(0.0, 1.0) - 0.5) * 0.2;
    certificate.not_before.plus(Duration::from_secs_f64(life.as_secs_f64() * share))
}

/// Where in its window a certificate is renewed, between 0 and 1. The same whenever it is asked, so that a device that starts
/// often does not draw again each time, and as good as chance over a fleet.
pub fn place_in_window(certificate: &Certificate) -> f64 {
    let digest = Sha256::of(certificate.serial.to_string().as_bytes());
    let drawn = digest.as_bytes().iter().take(2).fold(0_u16, |sum, byte| (sum << 8) | u16::from(*byte));
    f64::from(drawn) / f64::from(u16::MAX)
}

#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;
