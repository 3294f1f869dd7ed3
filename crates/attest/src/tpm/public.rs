//! TPMT_PUBLIC: the public half of a key with what the TPM holds it to (TPM 2.0 Part 2 §12.2.4), its name, and the
//! templates of the keys that we make.
//!
//! RSA of 2048 to 4096 bits and the curves P-256 and P-384 are read. The bytes stay as they came, since the name is
//! their hash.

use const_oid::ObjectIdentifier;
use der::asn1::{BitString, UintRef};
use der::{Encode, Sequence};

use super::hash::Hash;
use super::wire::{Malformed, Reader, Writer};

/// objectAttributes (TPM 2.0 Part 2 §8.3).
pub mod attribute {
    pub const FIXED_TPM: u32 = 1 << 1;
    pub const FIXED_PARENT: u32 = 1 << 4;
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
    pub const NO_DA: u32 = 1 << 10;
    pub const RESTRICTED: u32 = 1 << 16;
    pub const DECRYPT: u32 = 1 << 17;
    pub const SIGN: u32 = 1 << 18;
    /// Made in this TPM, and never to leave it.
    pub const BORN_AND_KEPT: u32 = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN;
}

const RSA: u16 = 0x0001;
const ECC: u16 = 0x0023;
pub(crate) const NULL: u16 = 0x0010;
pub(crate) const AES: u16 = 0x0006;
pub(crate) const CFB: u16 = 0x0043;
pub(crate) const RSASSA: u16 = 0x0014;
pub(crate) const RSAES: u16 = 0x0015;
pub(crate) const RSAPSS: u16 = 0x0016;
pub(crate) const ECDSA: u16 = 0x0018;
pub(crate) const ECDAA: u16 = 0x001a;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// A curve that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
}

impl Curve {
    const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0003 => Some(Self::P256),
            0x0004 => Some(Self::P384),
            _ => None,
        }
    }

    const fn id(self) -> u16 {
        match self {
            Self::P256 => 0x0003,
            Self::P384 => 0x0004,
        }
    }

    /// Bytes of a coordinate.
    pub const fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
            Self::P384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
        }
    }
}

/// The numbers of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Rsa {
        exponent: u32,
        modulus: Vec<u8>,
    },
    /// Coordinates have the curve's size.
    Ecc {
        curve: Curve,
        x: Vec<u8>,
        y: Vec<u8>,
    },
}

/// A public area that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    raw: Vec<u8>,
    pub name_hash: Hash,
    pub attributes: u32,
    pub policy: Vec<u8>,
    /// Key bits of the AES-CFB that protects children and credentials.
    pub aes_bits: Option<u16>,
    /// The scheme that the key is bound to, and its digest.
    pub scheme: Option<(u16, Hash)>,
    pub key: Key,
}

impl Public {
    /// # Errors
    /// [`Malformed`] where it is no TPMT_PUBLIC of a kind that is read, with nothing after it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("TPMT_PUBLIC of an RSA, P-256 or P-384 key", bytes);
        let public = read(&mut reader, bytes)?;
        reader.finish()?;
        Ok(public)
    }

    /// As the TPM has it.
    pub fn bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Its name: the number of the digest, and the digest (TPM 2.0 Part 1 §16).
    pub fn name(&self) -> Vec<u8> {
        [self.name_hash.id().to_be_bytes().as_slice(), &self.name_hash.digest(&[&self.raw])].concat()
    }

    pub const fn has(&self, attributes: u32) -> bool {
        self.attributes & attributes == attributes
    }

    /// The key as a SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa { .. } => rsa_spki(&self.raw_key()),
            Key::Ecc { curve, .. } => ec_spki(*curve, &self.raw_key()),
        }
    }

    /// What a SubjectPublicKeyInfo holds: an RSAPublicKey, or an uncompressed point.
    pub fn raw_key(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa { exponent, modulus } => {
                let exponent = exponent.to_be_bytes();
                let numbers = UintRef::new(modulus)
                    .and_then(|modulus| RsaNumbers { modulus, exponent: UintRef::new(&exponent)? }.to_der());
                numbers.unwrap_or_default()
            }
            Key::Ecc { x, y, .. } => [&[4][..], x, y].concat(),
        }
    }
}

#[derive(Sequence)]
struct RsaNumbers<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

fn rsa_spki(key: &[u8]) -> Vec<u8> {
    let algorithm = spki::AlgorithmIdentifier { oid: RSA_ENCRYPTION, parameters: Some(der::asn1::Null) };
    write_spki(algorithm, key)
}

fn ec_spki(curve: Curve, point: &[u8]) -> Vec<u8> {
    write_spki(spki::AlgorithmIdentifier { oid: EC_PUBLIC_KEY, parameters: Some(curve.oid()) }, point)
}

fn write_spki<P>(algorithm: spki::AlgorithmIdentifier<P>, key: &[u8]) -> Vec<u8>
where
    P: for<'a> der::Choice<'a> + Encode,
{
    let key = BitString::from_bytes(key).expect("a key is shorter than DER can say");
    let info = spki::SubjectPublicKeyInfo { algorithm, subject_public_key: key };
    info.to_der().expect("what was put together from parts can be written")
}

fn read(reader: &mut Reader<'_>, bytes: &[u8]) -> Result<Public, Malformed> {
    let kind = reader.u16()?;
    let name_hash = Hash::from_id(reader.u16()?).ok_or_else(|| reader.fail())?;
    let attributes = reader.u32()?;
    let policy = reader.sized()?.to_vec();
    let aes_bits = symmetric(reader)?;
    let scheme = scheme(reader)?;
    let key = match kind {
        RSA => rsa(reader)?,
        ECC => ecc(reader)?,
        _ => return Err(reader.fail()),
    };
    Ok(Public { raw: bytes.to_vec(), name_hash, attributes, policy, aes_bits, scheme, key })
}

fn symmetric(reader: &mut Reader<'_>) -> Result<Option<u16>, Malformed> {
    if reader.u16()? == NULL {
        return Ok(None);
    }
    let (bits, mode) = (reader.u16()?, reader.u16()?);
    // Others than AES-CFB are read and protect nothing that is ours.
    Ok((mode == CFB && matches!(bits, 128 | 256)).then_some(bits))
}

fn scheme(reader: &mut Reader<'_>) -> Result<Option<(u16, Hash)>, Malformed> {
    let scheme = reader.u16()?;
    if matches!(scheme, NULL | RSAES) {
        return Ok(None);
    }
    let hash = reader.u16()?;
    if scheme == ECDAA {
        reader.u16()?;
    }
    Ok(Hash::from_id(hash).map(|hash| (scheme, hash)))
}

fn rsa(reader: &mut Reader<'_>) -> Result<Key, Malformed> {
    let bits = usize::from(reader.u16()?);
    let exponent = match reader.u32()? {
        0 => 65_537,
        exponent => exponent,
    };
    let modulus = reader.sized()?.to_vec();
    let whole = modulus.len() * 8 == bits && modulus.first().is_some_and(|first| *first >= 0x80);
    if !whole || !(2048..=4096).contains(&bits) || exponent < 65_537 || exponent % 2 == 0 {
        return Err(reader.fail());
    }
    Ok(Key::Rsa { exponent, modulus })
}

fn ecc(reader: &mut Reader<'_>) -> Result<Key, Malformed> {
    let curve = Curve::from_id(reader.u16()?).ok_or_else(|| reader.fail())?;
    if reader.u16()? != NULL {
        reader.u16()?;
    }
    let (x, y) = (coordinate(reader, curve)?, coordinate(reader, curve)?);
    Ok(Key::Ecc { curve, x, y })
}

/// Some TPMs leave zeros at the beginning away.
fn coordinate(reader: &mut Reader<'_>, curve: Curve) -> Result<Vec<u8>, Malformed> {
    let given = reader.sized()?;
    let missing = curve.size().checked_sub(given.len()).ok_or_else(|| reader.fail())?;
    Ok([vec![0; missing].as_slice(), given].concat())
}

/// Templates: public areas that ask a TPM for a key.
pub mod template {
    use super::{AES, CFB, Curve, ECC, ECDSA, Hash, NULL, RSA, Writer, attribute};

    /// PolicySecret(TPM_RH_ENDORSEMENT) with SHA-256 (TCG EK Credential Profile 2.3 §B.3.3).
    const ENDORSEMENT_POLICY: [u8; 32] = [
        0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52,
        0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
    ];
    const ENDORSEMENT: u32 =
        attribute::BORN_AND_KEPT | attribute::ADMIN_WITH_POLICY | attribute::RESTRICTED | attribute::DECRYPT;

    fn head(kind: u16, attributes: u32, policy: &[u8]) -> Writer {
        Writer::new().u16(kind).u16(Hash::Sha256.id()).u32(attributes).sized(policy)
    }

    fn p256(head: Writer, zeros: usize) -> Vec<u8> {
        head.u16(Curve::P256.id()).u16(NULL).sized(&vec![0; zeros]).sized(&vec![0; zeros]).done()
    }

    /// The endorsement key of the profile's template L-1, RSA-2048.
    pub fn endorsement_rsa() -> Vec<u8> {
        let head = head(RSA, ENDORSEMENT, &ENDORSEMENT_POLICY).u16(AES).u16(128).u16(CFB).u16(NULL);
        head.u16(2048).u32(0).sized(&[0; 256]).done()
    }

    /// The endorsement key of the profile's template L-2, P-256.
    pub fn endorsement_p256() -> Vec<u8> {
        p256(head(ECC, ENDORSEMENT, &ENDORSEMENT_POLICY).u16(AES).u16(128).u16(CFB).u16(NULL), 32)
    }

    /// A storage key under which others are made.
    pub fn storage_p256() -> Vec<u8> {
        let attributes = attribute::BORN_AND_KEPT
            | attribute::USER_WITH_AUTH
            | attribute::NO_DA
            | attribute::RESTRICTED
            | attribute::DECRYPT;
        p256(head(ECC, attributes, &[]).u16(AES).u16(128).u16(CFB).u16(NULL), 0)
    }

    /// A key that signs what the TPM says and nothing else.
    pub fn attestation_p256() -> Vec<u8> {
        signing(attribute::RESTRICTED)
    }

    /// A key for signatures of TLS and requests.
    pub fn device_p256() -> Vec<u8> {
        signing(0)
    }

    fn signing(more: u32) -> Vec<u8> {
        let attributes =
            attribute::BORN_AND_KEPT | attribute::USER_WITH_AUTH | attribute::NO_DA | attribute::SIGN | more;
        p256(head(ECC, attributes, &[]).u16(NULL).u16(ECDSA).u16(Hash::Sha256.id()), 0)
    }
}
