//! TPM2_MakeCredential without a TPM: a secret that only the TPM with this endorsement key gives out, and only where it
//! also holds the key of this name (TPM 2.0 Part 1 §24; KDFa and KDFe §11.4.10).
//!
//! Randomness is an argument, but for the padding of RSA, which the cryptographic library takes from the system: a
//! chosen one would give the seed away.

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepPublicEncryptingKey, PublicEncryptingKey};
use fleetward_base::{Rng, Secret};

use super::hash::Hash;
use super::public::{Curve, Key, Public, attribute};
use super::wire::Writer;

/// What goes to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// TPM2B_ID_OBJECT.
    pub blob: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET.
    pub secret: Vec<u8>,
}

/// No secret can be bound to this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no endorsement key: it must be a restricted decryption key that never leaves its TPM, with AES-CFB")]
pub struct NoEndorsementKey;

/// Wraps `secret` for the TPM that holds `endorsement` and a key of this `name`.
///
/// # Errors
/// [`NoEndorsementKey`] where the key is of another kind.
pub fn make(
    endorsement: &Public,
    name: &[u8],
    secret: &Secret<Vec<u8>>,
    rng: &dyn Rng,
) -> Result<Credential, NoEndorsementKey> {
    let is_storage = endorsement.has(attribute::BORN_AND_KEPT | attribute::RESTRICTED | attribute::DECRYPT);
    let aes_bits = endorsement.aes_bits.ok_or(NoEndorsementKey)?;
    if !is_storage || endorsement.has(attribute::SIGN) {
        return Err(NoEndorsementKey);
    }
    let hash = endorsement.name_hash;
    let (seed, wrapped) = match &endorsement.key {
        Key::Rsa { .. } => seal_seed(endorsement, rng)?,
        Key::Ecc { curve, x, .. } => agree_seed(endorsement, *curve, x, rng)?,
    };
    let key = kdfa(hash, seed.expose(), "STORAGE", name, &[], u32::from(aes_bits));
    let identity = cfb(key, Writer::new().sized(secret.expose()).done())?;
    let bits = u32::try_from(hash.size() * 8).unwrap_or_default();
    let mac = hash.hmac(&kdfa(hash, seed.expose(), "INTEGRITY", &[], &[], bits), &[&identity, name]);
    let blob = Writer::new().sized(&mac).bytes(&identity).done();
    Ok(Credential { blob: Writer::new().sized(&blob).done(), secret: Writer::new().sized(&wrapped).done() })
}

type Seed = (Secret<Vec<u8>>, Vec<u8>);

/// RSAES-OAEP with the label "IDENTITY" and its zero (TPM 2.0 Part 1 §B.4, §24).
fn seal_seed(endorsement: &Public, rng: &dyn Rng) -> Result<Seed, NoEndorsementKey> {
    let mut seed = vec![0; endorsement.name_hash.size()];
    rng.fill(&mut seed);
    let key = PublicEncryptingKey::from_der(&endorsement.spki()).map_err(|_| NoEndorsementKey)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| NoEndorsementKey)?;
    let algorithm = match endorsement.name_hash {
        Hash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        Hash::Sha384 => &OAEP_SHA384_MGF1SHA384,
    };
    let mut room = vec![0; key.ciphertext_size()];
    let sealed = key.encrypt(algorithm, &seed, &mut room, Some(b"IDENTITY\0")).map_err(|_| NoEndorsementKey)?.to_vec();
    Ok((Secret::new(seed), sealed))
}

/// One-pass ECDH with a key for this once (TPM 2.0 Part 1 §C.6.4).
fn agree_seed(endorsement: &Public, curve: Curve, x: &[u8], rng: &dyn Rng) -> Result<Seed, NoEndorsementKey> {
    let algorithm = match curve {
        Curve::P256 => &ECDH_P256,
        Curve::P384 => &ECDH_P384,
    };
    let mut scalar = Secret::new(vec![0; curve.size()]);
    // A number outside of the group is one in four billion; the bound only keeps a broken source from hanging us.
    let ephemeral = (0..8).find_map(|_| {
        rng.fill(scalar.expose_mut());
        PrivateKey::from_private_key(algorithm, scalar.expose()).ok()
    });
    let ephemeral = ephemeral.ok_or(NoEndorsementKey)?;
    let public = ephemeral.compute_public_key().map_err(|_| NoEndorsementKey)?;
    let point = public.as_ref().get(1..).unwrap_or_default();
    let (own_x, own_y) = point.split_at_checked(curve.size()).ok_or(NoEndorsementKey)?;
    let peer = UnparsedPublicKey::new(algorithm, endorsement.raw_key());
    let seed = agreement::agree(&ephemeral, peer, NoEndorsementKey, |shared| {
        Ok(Secret::new(kdfe(endorsement.name_hash, shared, "IDENTITY", own_x, x)))
    })?;
    Ok((seed, Writer::new().sized(own_x).sized(own_y).done()))
}

/// KDFa: HMAC in counter mode (SP 800-108). All keys here are one block long at most.
fn kdfa(hash: Hash, key: &[u8], label: &str, u: &[u8], v: &[u8], bits: u32) -> Vec<u8> {
    let mut out = hash.hmac(key, &[&1_u32.to_be_bytes(), label.as_bytes(), &[0], u, v, &bits.to_be_bytes()]);
    out.truncate(usize::try_from(bits / 8).unwrap_or_default());
    out
}

/// KDFe: concatenation (SP 800-56A); one block.
fn kdfe(hash: Hash, z: &[u8], label: &str, u: &[u8], v: &[u8]) -> Vec<u8> {
    hash.digest(&[&1_u32.to_be_bytes(), z, label.as_bytes(), &[0], u, v])
}

/// AES in CFB with an IV of zeros: the key is for this once.
fn cfb(key: Vec<u8>, mut data: Vec<u8>) -> Result<Vec<u8>, NoEndorsementKey> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let key = Secret::new(key);
    let key = UnboundCipherKey::new(algorithm, key.expose()).map_err(|_| NoEndorsementKey)?;
    let key = EncryptingKey::cfb128(key).map_err(|_| NoEndorsementKey)?;
    let iv = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    key.less_safe_encrypt(&mut data, iv).map_err(|_| NoEndorsementKey)?;
    Ok(data)
}
