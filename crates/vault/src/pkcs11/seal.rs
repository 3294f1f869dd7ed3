//! The root key under a key in a token: AES in GCM, or RSA with OAEP. Neither key ever leaves the token.
//!
//! Body: `1 | iv (12) | ciphertext and tag` for AES, `2 | ciphertext` for OAEP with SHA-256, `3 | ciphertext` for OAEP with
//! SHA-1, which is all that some tokens have (OAEP does not rest on the hash being free of collisions).

use async_trait::async_trait;
use base::{Rng, Secret, SystemRng};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectClass;
use cryptoki::session::Session;

use fleetward_base as base;

use super::module::{Calls, Module, find, one};
use crate::root::{RootKey, RootSeal, RootSealError, SealKind};
use crate::tokens::TokenError;
use crate::uri::KeyUri;

const AES: u8 = 1;
const OAEP_SHA256: u8 = 2;
const OAEP_SHA1: u8 = 3;
const IV_BYTES: usize = 12;
/// Bound to the ciphertext by AES-GCM.
const CONTEXT: &[u8] = b"fleetward root key";

/// Seals by a key in a token.
pub struct Pkcs11Seal {
    module: Module,
    uri: KeyUri,
}

impl Pkcs11Seal {
    pub fn new(module: Module, uri: KeyUri) -> Self {
        Self { module, uri }
    }

    fn error(&self, error: TokenError) -> RootSealError {
        let (seal, reason) = (self.describe(), error.to_string());
        match error {
            TokenError::Unreachable(_) => RootSealError::Unreachable { seal, reason },
            _ => RootSealError::Refused { seal, reason },
        }
    }
}

#[async_trait]
impl RootSeal for Pkcs11Seal {
    fn kind(&self) -> SealKind {
        SealKind::Pkcs11
    }

    fn describe(&self) -> String {
        self.uri.to_string()
    }

    async fn wrap(&self, key: &RootKey) -> Result<Vec<u8>, RootSealError> {
        let (uri, key) = (self.uri.clone(), key.clone());
        self.module.call_async(move |calls| wrap(calls, &uri, &key)).await.map_err(|error| self.error(error))
    }

    async fn unwrap(&self, body: &[u8]) -> Result<RootKey, RootSealError> {
        let (uri, body) = (self.uri.clone(), body.to_vec());
        let plain = self.module.call_async(move |calls| unwrap(calls, &uri, &body)).await;
        RootKey::from_bytes(&plain.map_err(|error| self.error(error))?)
    }
}

fn wrap(calls: &mut Calls, uri: &KeyUri, key: &RootKey) -> Result<Vec<u8>, TokenError> {
    let mut iv = [0; IV_BYTES];
    SystemRng.fill(&mut iv);
    let wrapped = calls.with_session(uri, |session| {
        let secret = find(session, uri, ObjectClass::SECRET_KEY)?;
        if let [secret] = secret.as_slice() {
            let mut iv = iv;
            let sealed = session.encrypt(&gcm(&mut iv)?, *secret, key.expose())?;
            return Ok(Ok([&[AES], &iv[..], &sealed].concat()));
        }
        if !secret.is_empty() {
            return Ok(Err(secret));
        }
        let public = find(session, uri, ObjectClass::PUBLIC_KEY)?;
        match public.as_slice() {
            [public] => oaep_wrap(session, *public, key).map(Ok),
            _ => Ok(Err(public)),
        }
    });
    wrapped?.map_err(|found| match one(&found, uri, "AES or RSA key") {
        Err(error) => error,
        Ok(_) => TokenError::NoKey(uri.to_string()),
    })
}

fn oaep_wrap(session: &Session, public: cryptoki::object::ObjectHandle, key: &RootKey) -> Result<Vec<u8>, Error> {
    match session.encrypt(&oaep(OAEP_SHA256), public, key.expose()) {
        Ok(sealed) => Ok([&[OAEP_SHA256], sealed.as_slice()].concat()),
        Err(Error::Pkcs11(RvError::MechanismParamInvalid | RvError::ArgumentsBad | RvError::MechanismInvalid, _)) => {
            let sealed = session.encrypt(&oaep(OAEP_SHA1), public, key.expose())?;
            Ok([&[OAEP_SHA1], sealed.as_slice()].concat())
        }
        Err(error) => Err(error),
    }
}

fn unwrap(calls: &mut Calls, uri: &KeyUri, body: &[u8]) -> Result<Secret<Vec<u8>>, TokenError> {
    let broken = || TokenError::Refused("what it wrapped was changed".to_owned());
    let (&how, sealed) = body.split_first().ok_or_else(broken)?;
    let class = match how {
        AES => ObjectClass::SECRET_KEY,
        OAEP_SHA256 | OAEP_SHA1 => ObjectClass::PRIVATE_KEY,
        _ => return Err(broken()),
    };
    let (iv, sealed) = match how {
        AES => sealed.split_first_chunk::<IV_BYTES>().map(|(iv, sealed)| (*iv, sealed)).ok_or_else(broken)?,
        _ => ([0; IV_BYTES], sealed),
    };
    let plain = calls.with_session(uri, |session| {
        let keys = find(session, uri, class)?;
        let [key] = keys.as_slice() else { return Ok(Err(keys)) };
        let mut iv = iv;
        let mechanism = if how == AES { gcm(&mut iv)? } else { oaep(how) };
        match session.decrypt(&mechanism, *key, sealed) {
            Ok(plain) => Ok(Ok(Some(Secret::new(plain)))),
            // Tokens differ in how they say that a tag or padding does not hold.
            Err(Error::Pkcs11(
                RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::GeneralError
                | RvError::FunctionFailed
                | RvError::ArgumentsBad,
                _,
            )) => Ok(Ok(None)),
            Err(error) => Err(error),
        }
    });
    match plain? {
        Ok(Some(plain)) => Ok(plain),
        Ok(None) => {
            Err(TokenError::Refused("what it wrapped was changed, or another key is under this name".to_owned()))
        }
        Err(found) => match one(&found, uri, "key that opens") {
            Err(error) => Err(error),
            Ok(_) => Err(TokenError::NoKey(uri.to_string())),
        },
    }
}

fn gcm(iv: &mut [u8; IV_BYTES]) -> Result<Mechanism<'_>, Error> {
    Ok(Mechanism::AesGcm(GcmParams::new(iv, CONTEXT, 128.into())?))
}

fn oaep(how: u8) -> Mechanism<'static> {
    let (hash, mgf) = match how {
        OAEP_SHA256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        _ => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
    };
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty()))
}
