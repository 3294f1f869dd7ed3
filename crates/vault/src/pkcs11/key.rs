//! Signing keys in a token.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base::{Rng, SystemRng};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::Session;
use fleetward_pki::{Algorithm, SignError, Signer};

use fleetward_base as base;

use super::module::{Module, find, one};
use crate::tokens::{TokenError, Tokens};
use crate::uri::KeyUri;

/// The object identifier of P-256 in DER, as CKA_EC_PARAMS has it.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// What precedes the point in a SubjectPublicKeyInfo of P-256.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT_BYTES: usize = 65;
const PROOF: &[u8] = b"fleetward proves that this key signs";

/// A P-256 key in a token. Signing waits for the token: it is for threads that may wait.
pub struct TokenKey {
    module: Module,
    uri: KeyUri,
    spki: Vec<u8>,
}

impl TokenKey {
    async fn open(module: &Module, uri: &KeyUri) -> Result<Self, TokenError> {
        let named = uri.clone();
        let spki = module
            .call_async(move |calls| {
                let found = calls.with_session(&named, |session| {
                    let keys = find(session, &named, ObjectClass::PRIVATE_KEY)?;
                    let public = find(session, &named, ObjectClass::PUBLIC_KEY)?;
                    let point = match public.as_slice() {
                        [public] => {
                            session.get_attributes(*public, &[AttributeType::EcParams, AttributeType::EcPoint])?
                        }
                        _ => Vec::new(),
                    };
                    Ok((keys, point))
                });
                let (keys, public) = found?;
                one(&keys, &named, "private key")?;
                spki_of(&public).ok_or_else(|| TokenError::NoKey(format!("{named} has no public half of P-256")))
            })
            .await?;
        let key = Self { module: module.clone(), uri: uri.clone(), spki };
        // A public half that is another's would be found out by devices only.
        let probe = Self { module: key.module.clone(), uri: key.uri.clone(), spki: key.spki.clone() };
        let proved = tokio::task::spawn_blocking(move || probe.sign(PROOF)).await;
        match proved {
            Ok(Ok(_)) => Ok(key),
            Ok(Err(SignError(reason))) => Err(TokenError::Refused(reason)),
            Err(error) => Err(TokenError::Unreachable(error.to_string())),
        }
    }
}

impl Signer for TokenKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EcdsaP256Sha256
    }

    fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // The token signs the digest alone (CKM_ECDSA): every token has that, and the message stays here.
        let (uri, hash) = (self.uri.clone(), digest(&SHA256, message).as_ref().to_vec());
        let raw = self.module.call(move |calls| {
            let signed = calls.with_session(&uri, |session| {
                let keys = find(session, &uri, ObjectClass::PRIVATE_KEY)?;
                match keys.as_slice() {
                    [key] => session.sign(&Mechanism::Ecdsa, *key, &hash).map(Ok),
                    _ => Ok(Err(keys)),
                }
            });
            signed?.map_err(|keys| match one(&keys, &uri, "private key") {
                Err(error) => error,
                Ok(_) => TokenError::NoKey(uri.to_string()),
            })
        });
        let raw = raw.map_err(|error| SignError(error.to_string()))?;
        let signature = der_of(&raw).ok_or_else(|| SignError("the token gave no signature of P-256".to_owned()))?;
        // A token that computes wrong must not give away its key or a certificate that nobody accepts.
        let point = self.spki.get(SPKI_P256.len()..).unwrap_or_default();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message, &signature)
            .map_err(|_| SignError("the token's signature does not fit its public key".to_owned()))?;
        Ok(signature)
    }
}

/// The tokens of one library.
#[async_trait]
impl Tokens for Module {
    async fn signer(&self, uri: &str) -> Result<Arc<dyn Signer>, TokenError> {
        Ok(Arc::new(TokenKey::open(self, &uri.parse()?).await?))
    }

    async fn generate(&self, uri: &str) -> Result<Arc<dyn Signer>, TokenError> {
        let uri: KeyUri = uri.parse()?;
        let named = uri.clone();
        self.call_async(move |calls| {
            let taken = calls.with_session(&named, |session| {
                if !find(session, &named, ObjectClass::PRIVATE_KEY)?.is_empty() {
                    return Ok(true);
                }
                make(session, &named).map(|()| false)
            });
            if taken? { Err(TokenError::NoKey(format!("{named} is the name of a key already"))) } else { Ok(()) }
        })
        .await?;
        Ok(Arc::new(TokenKey::open(self, &uri).await?))
    }
}

fn make(session: &Session, uri: &KeyUri) -> Result<(), cryptoki::error::Error> {
    let mut random = vec![0; 16];
    SystemRng.fill(&mut random);
    let id = uri.id.clone().unwrap_or(random);
    let label = uri.object.clone().unwrap_or_default().into_bytes();
    let public = [
        Attribute::Token(true),
        Attribute::KeyType(KeyType::EC),
        Attribute::EcParams(P256.to_vec()),
        Attribute::Verify(true),
        Attribute::Label(label.clone()),
        Attribute::Id(id.clone()),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Label(label),
        Attribute::Id(id),
    ];
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map(drop)
}

/// A SubjectPublicKeyInfo of what the token says of a public key.
fn spki_of(attributes: &[Attribute]) -> Option<Vec<u8>> {
    let is_p256 = attributes.iter().any(|attribute| matches!(attribute, Attribute::EcParams(curve) if *curve == P256));
    let point = attributes.iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(point) => Some(point.as_slice()),
        _ => None,
    })?;
    // An OCTET STRING about the point (PKCS#11 §2.3.3); some tokens leave it out.
    let point = if point.len() == POINT_BYTES { point } else { point.strip_prefix(&[0x04, 0x41])? };
    let good = is_p256 && point.len() == POINT_BYTES && point.first() == Some(&4);
    good.then(|| [&SPKI_P256, point].concat())
}

/// `r || s` (PKCS#11 §2.3.1) as the ECDSA-Sig-Value that certificates have (RFC 3279 §2.2.3).
fn der_of(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() != 64 {
        return None;
    }
    let (r, s) = raw.split_at(32);
    let integer = |bytes: &[u8]| {
        let mut value: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        if value.first().is_none_or(|first| first & 0x80 != 0) {
            value.insert(0, 0);
        }
        let length = u8::try_from(value.len()).ok()?;
        Some([&[0x02, length], value.as_slice()].concat())
    };
    let body = [integer(r)?, integer(s)?].concat();
    Some([&[0x30, u8::try_from(body.len()).ok()?], body.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_signatures_become_der() {
        let raw = [&[0; 31][..], &[0x7f], &[0x80], &[0; 31]].concat();
        let der = der_of(&raw).expect("64 bytes");
        assert_eq!(der[..6], [0x30, 38, 0x02, 1, 0x7f, 0x02]);
        assert_eq!(der[6..9], [33, 0, 0x80]);
        assert_eq!(der_of(&raw[1..]), None);
        assert_eq!(der_of(&[0; 64]), Some(vec![0x30, 6, 2, 1, 0, 2, 1, 0]));
    }
}
