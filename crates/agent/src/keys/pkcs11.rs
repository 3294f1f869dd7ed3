//! Keys in a PKCS#11 token: a pair of objects for each place, told apart by their id. Built with the feature `pkcs11` only,
//! since the token's library is loaded while the agent runs, which a static program cannot do.
//!
//! The private key is made in the token, sensitive and not extractable. A token keeps an object or does not; a pair that a
//! cut left half is taken away before the next one is made.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use fleetward_base::Secret;
use fleetward_pki::key::{Algorithm, SignError, Signer};

use super::{DeviceKey, KeyError, Keys, p256_spki, signature_der};
use crate::record::Slot;

/// prime256v1 as EC parameters in DER (RFC 5480 §2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Which token, and how it is opened.
#[derive(Clone, Debug)]
pub struct Token {
    /// Path of the PKCS#11 module.
    pub module: String,
    /// Label of the token; the first token with a login where it is not given.
    pub label: Option<String>,
    pub pin: Secret<String>,
}

/// The keys of a token.
#[derive(Clone)]
pub struct TokenKeys(Arc<Mutex<Session>>);

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKeys")
    }
}

fn refused(error: impl fmt::Display) -> KeyError {
    KeyError::Holder { holder: "PKCS#11 token", reason: error.to_string() }
}

const fn id(place: Slot) -> &'static [u8] {
    match place {
        Slot::A => b"fleetward-identity-a",
        Slot::B => b"fleetward-identity-b",
    }
}

impl TokenKeys {
    /// Loads the module and logs in.
    ///
    /// # Errors
    /// Where there is no such module or token, or the PIN is wrong.
    pub fn open(token: &Token) -> Result<Self, KeyError> {
        let module = Pkcs11::new(&token.module).map_err(refused)?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(refused(error)),
        }
        let mut found = None;
        for slot in module.get_slots_with_token().map_err(refused)? {
            let info = module.get_token_info(slot).map_err(refused)?;
            let named = token.label.as_ref().map_or(info.user_pin_initialized(), |label| info.label().trim() == label);
            if named {
                found = Some(slot);
                break;
            }
        }
        let slot = found.ok_or_else(|| refused("there is no such token"))?;
        let session = module.open_rw_session(slot).map_err(refused)?;
        let pin = AuthPin::from(token.pin.expose().as_str());
        session.login(UserType::User, Some(&pin)).map_err(refused)?;
        Ok(Self(Arc::new(Mutex::new(session))))
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(session: &Session, class: ObjectClass, place: Slot) -> Result<Option<ObjectHandle>, Error> {
    let template = [Attribute::Class(class), Attribute::Token(true), Attribute::Id(id(place).to_vec())];
    Ok(session.find_objects(&template)?.into_iter().next())
}

fn take_away(session: &Session, place: Slot) -> Result<(), Error> {
    for object in session.find_objects(&[Attribute::Token(true), Attribute::Id(id(place).to_vec())])? {
        session.destroy_object(object)?;
    }
    Ok(())
}

impl Keys for TokenKeys {
    fn make(&self, place: Slot) -> Result<(), KeyError> {
        let session = self.session();
        take_away(&session, place).map_err(refused)?;
        let label = format!("Fleetward device key {place}").into_bytes();
        let both = |class_private: bool| {
            vec![
                Attribute::Token(true),
                Attribute::Private(class_private),
                Attribute::Id(id(place).to_vec()),
                Attribute::Label(label.clone()),
                Attribute::KeyType(KeyType::EC),
            ]
        };
        let mut public = both(false);
        public.extend([Attribute::EcParams(P256.to_vec()), Attribute::Verify(true)]);
        let mut private = both(true);
        private.extend([Attribute::Sign(true), Attribute::Sensitive(true), Attribute::Extractable(false)]);
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map_err(refused)?;
        Ok(())
    }

    fn open(&self, place: Slot) -> Result<Option<DeviceKey>, KeyError> {
        let session = self.session();
        let private = find(&session, ObjectClass::PRIVATE_KEY, place).map_err(refused)?;
        let public = find(&session, ObjectClass::PUBLIC_KEY, place).map_err(refused)?;
        let (Some(private), Some(public)) = (private, public) else { return Ok(None) };
        let point = session.get_attributes(public, &[AttributeType::EcPoint]).map_err(refused)?;
        let point = point.into_iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(point) => Some(point),
            _ => None,
        });
        let point = point.ok_or_else(|| refused("the public key has no point"))?;
        // An OCTET STRING in DER around it (PKCS#11 3.0 §2.3.3); some tokens give the point bare.
        let bare = point.strip_prefix(&[0x04, 0x41]).filter(|bare| bare.len() == 65).unwrap_or(&point);
        let spki = p256_spki(bare).ok_or_else(|| refused("the key is not one of P-256"))?;
        Ok(Some(Arc::new(TokenKey { keys: self.clone(), private, spki })))
    }

    fn remove(&self, place: Slot) -> Result<(), KeyError> {
        take_away(&self.session(), place).map_err(refused)
    }
}

/// A key that the token signs with.
struct TokenKey {
    keys: TokenKeys,
    private: ObjectHandle,
    spki: Vec<u8>,
}

impl Signer for TokenKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EcdsaP256Sha256
    }

    fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // The token signs a digest: not every one hashes by itself.
        let digest = fleetward_supply::Sha256::of(message);
        let session = self.keys.session();
        let fixed = session.sign(&Mechanism::Ecdsa, self.private, digest.as_bytes());
        let fixed = fixed.map_err(|error| SignError(error.to_string()))?;
        signature_der(&fixed).ok_or_else(|| SignError(String::from("the token's signature has no two numbers")))
    }
}
